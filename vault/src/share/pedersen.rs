//! The commitment: `value * G + blinding * H` in ristretto255.
//!
//! Hides perfectly: for every value there is one blinding that gives the same point, so even an
//! unlimited reader of the ledger learns nothing. Binds as long as nobody knows the discrete
//! logarithm of `H` to `G`, which is why `H` comes from a hash and has no other origin.
//!
//! # Source
//! docs/spec/share.md; RFC 9496 section 4.3.4; Pedersen, "Non-Interactive and Information-Theoretic
//! Secure Verifiable Secret Sharing", CRYPTO '91

use curve25519_dalek::{
    RistrettoPoint, Scalar,
    ristretto::RistrettoBasepointTable,
    traits::{Identity as _, IsIdentity as _},
};
use dmdl_types::label;
use sha2::{Digest as _, Sha512};
use std::sync::LazyLock;

/// Multiples of `H`, so that committing costs no more than two base multiplications.
static H: LazyLock<RistrettoBasepointTable> = LazyLock::new(|| RistrettoBasepointTable::create(&generator()));

/// `H = map(SHA-512(label))`, with the one-way map of RFC 9496.
fn generator() -> RistrettoPoint {
    RistrettoPoint::from_uniform_bytes(&Sha512::digest(label::PEDERSEN_H.as_bytes()).into())
}

/// Commits to a value under a blinding.
///
/// # Security
/// Takes the same steps whatever the two are.
pub(crate) fn commit(value: &Scalar, blinding: &Scalar) -> RistrettoPoint {
    RistrettoPoint::mul_base(value) + blinding * &*H
}

/// The commitment to a polynomial's value at `x`, from the commitments to its coefficients.
///
/// Everything here is public, so the time may depend on it: by Horner's rule with multiplications
/// by at most 255, which cost a fraction of the general ones.
pub(crate) fn evaluate(commitments: &[RistrettoPoint], x: u8) -> RistrettoPoint {
    commitments.iter().rev().fold(RistrettoPoint::identity(), |sum, point| small_multiple(&sum, x) + point)
}

/// `x * point` by doubling and adding.
fn small_multiple(point: &RistrettoPoint, x: u8) -> RistrettoPoint {
    let bits = (0..u8::BITS - x.leading_zeros()).rev().map(|bit| x >> bit & 1 == 1);
    bits.fold(RistrettoPoint::identity(), |sum, bit| {
        let doubled = sum + sum;
        if bit { doubled + point } else { doubled }
    })
}

/// Whether the point says in public that a coefficient and its blinding are both zero.
pub(crate) fn is_void(commitment: &RistrettoPoint) -> bool {
    commitment.is_identity()
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::ristretto::CompressedRistretto;

    #[test]
    fn the_second_generator_has_its_pinned_value() {
        assert_eq!(
            hex::encode(generator().compress().as_bytes()),
            "a0f4930ee8e7b77825b212c41a5e83d0e74c5b2971d361a721a7efcf90cde423"
        );
    }

    #[test]
    fn a_commitment_is_the_sum_of_both_multiples() {
        let (value, blinding) = (Scalar::from(5u8), Scalar::from(7u8));
        assert_eq!(commit(&value, &blinding), RistrettoPoint::mul_base(&value) + generator() * blinding);
    }

    #[test]
    fn small_multiples_agree_with_the_general_ones() {
        let point = generator();
        for x in 0..=u8::MAX {
            assert_eq!(small_multiple(&point, x), point * Scalar::from(x), "{x}");
        }
    }

    /// RFC 9496, appendix A.1.
    #[test]
    fn multiples_of_the_generator_are_encoded_as_in_the_standard() {
        let expected = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
            "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
            "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
            "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
            "e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e",
        ];
        for (multiple, bytes) in (0u8..).zip(expected) {
            assert_eq!(hex::encode(RistrettoPoint::mul_base(&Scalar::from(multiple)).compress().as_bytes()), bytes);
        }
    }

    /// RFC 9496, appendix A.3: the one-way map that `H` comes from.
    #[test]
    fn the_one_way_map_follows_the_standard() {
        let input = hex::decode(concat!(
            "5d1be09e3d0c82fc538112490e35701979d99e06ca3e2b5b54bffe8b4dc772c1",
            "4d98b696a1bbfb5ca32c436cc61c16563790306c79eaca7705668b47dffe5bb6"
        ));
        let input: [u8; 64] = input.unwrap().try_into().unwrap();
        assert_eq!(
            hex::encode(RistrettoPoint::from_uniform_bytes(&input).compress().as_bytes()),
            "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"
        );
    }

    /// RFC 9496, appendix A.2: one of each class of bytes that are no point.
    #[test]
    fn bytes_that_are_no_point_are_refused() {
        for bad in [
            // Not reduced.
            "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            // Negative.
            "0100000000000000000000000000000000000000000000000000000000000000",
            "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
            // No square root.
            "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
            "4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
            // A negative product of the coordinates.
            "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
            // A vertical coordinate of zero.
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            let bytes = hex::decode(bad).unwrap();
            assert!(CompressedRistretto::from_slice(&bytes).unwrap().decompress().is_none(), "{bad}");
        }
    }
}
