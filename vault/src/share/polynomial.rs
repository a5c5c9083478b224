//! Polynomials over a prime field: all the arithmetic of sharing, and nothing else.
//!
//! Generic, so that the very code that shares scalars is also run over fields small enough to count
//! every case (`polynomial/tests.rs`).

use curve25519_dalek::Scalar;
use std::ops::{Add, Mul, Sub};

/// What sharing needs of a prime field.
pub(crate) trait Field: Copy + Add<Output = Self> + Mul<Output = Self> + Sub<Output = Self> {
    /// The element with this small value.
    fn of(value: u8) -> Self;

    /// The inverse; of zero, zero.
    fn inverse(self) -> Self;
}

impl Field for Scalar {
    fn of(value: u8) -> Self {
        Self::from(value)
    }

    fn inverse(self) -> Self {
        self.invert()
    }
}

/// The value at `x` of the polynomial whose coefficients are given, the constant first.
///
/// # Security
/// Takes the same steps whatever the coefficients are.
pub(crate) fn evaluate<F: Field>(coefficients: &[F], x: u8) -> F {
    let x = F::of(x);
    coefficients.iter().rev().fold(F::of(0), |sum, coefficient| sum * x + *coefficient)
}

/// The Lagrange factors that turn values at `xs` into the value at zero.
///
/// The positions are public. They must be different and not zero: the caller has checked it.
pub(crate) fn factors_at_zero<F: Field>(xs: &[u8]) -> Vec<F> {
    let factor = |i: usize, x: u8| {
        let others = xs.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| F::of(*other));
        let (above, below) =
            others.fold((F::of(1), F::of(1)), |(above, below), other| (above * other, below * (other - F::of(x))));
        above * below.inverse()
    };
    xs.iter().enumerate().map(|(i, x)| factor(i, *x)).collect()
}

#[cfg(test)]
mod tests;
