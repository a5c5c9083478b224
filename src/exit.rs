//! Exit codes, and the one place where errors meet them.

use std::borrow::Cow;

/// How the program ends; scripts rely on these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// The command line makes no sense.
    Usage = 2,
    /// Denied, or not authorised.
    Denied = 3,
    /// Not found.
    NotFound = 4,
    /// Something is not what it should be.
    Integrity = 5,
    /// Unavailable, or not in time.
    Unavailable = 6,
    /// Bad configuration or file permissions.
    Configuration = 7,
    /// A bug of ours.
    Internal = 70,
    /// Storage failed.
    Storage = 74,
    /// Interrupted.
    Interrupted = 130,
}

/// An error as the program reports it: a stable code for machines, a sentence for people.
#[derive(Debug)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// The stable code.
    pub code: Cow<'static, str>,
    /// The sentence.
    pub detail: String,
}

impl Failure {
    /// A failure.
    pub fn new(exit: Exit, code: impl Into<Cow<'static, str>>, detail: impl ToString) -> Self {
        Self { exit, code: code.into(), detail: detail.to_string() }
    }
}
