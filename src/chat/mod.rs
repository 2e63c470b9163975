//! What a client asks for, in OpenAI's vocabulary: the hub's side of every
//! translation.

mod inspect;
mod operation;

pub use inspect::{InspectError, Request, inspect};
pub use operation::{Media, Operation};
