//! The providers' wire formats, one file each. A provider is data; a dialect
//! is code. Bytes and values in, values out: no I/O, no clock, no logging.

pub mod openai;
