//! Bytes without meaning: where things start and end in the formats that pass through.
//!
//! Every module here is sans-IO: bytes in, spans and slices out, no async, no clock, no
//! logging. None knows what a model or a message is; callers say which names matter.
//! What is found is a position in the caller's own bytes, so that what was read is exactly
//! what is forwarded.

pub mod eventstream;
pub mod json;
pub mod multipart;
pub mod percent;
pub mod sigv4;
pub mod sse;
