//! Values that must not be seen.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Thirty-two secret bytes: wiped on drop, never printed, read only inside a closure.
///
/// # Security
/// Neither `Clone`, `Serialize` nor a useful `Debug` exists, so a secret does not travel by accident.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret32([u8; 32]);

impl Secret32 {
    /// Takes the bytes over. The caller wipes its own copy, if it kept one.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Lets `read` see the bytes.
    pub fn expose<R>(&self, read: impl FnOnce(&[u8; 32]) -> R) -> R {
        read(&self.0)
    }
}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret32(redacted)")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_secret_does_not_print_its_bytes() {
        assert_eq!(format!("{:?}", super::Secret32::new([7; 32])), "Secret32(redacted)");
    }
}
