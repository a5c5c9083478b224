//! Targets for what is not visible outside of the program; its own tests cannot run them.

mod json;
mod message;

pub(crate) const ALL: [(&str, fn(&[u8])); 2] = [("json", json::run), ("message", message::run)];
