//! What a client asks for, in OpenAI's vocabulary: the hub's side of every
//! translation.

mod answer;
mod capability;
mod conversation;
pub mod estimate;
mod gather;
mod inspect;
pub mod models;
mod operation;
mod order;
mod rewrite;
mod sealed;
mod stray;

pub use answer::*;
pub use capability::*;
pub use conversation::*;
pub use gather::gather;
pub use inspect::{InspectError, Request, inspect};
pub use operation::{Media, Operation, Speech};
pub use order::{Item, Said, Slot, Span};
pub use rewrite::{Limit, Rewrite};
pub use sealed::{Origin, Sealed};
pub use stray::{Place, Stray};
