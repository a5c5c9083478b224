//! What can be counted is counted, over fields of a few elements.

use super::*;
use std::collections::BTreeMap;

/// The integers modulo a small prime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Modulo<const P: u32>(u32);

impl<const P: u32> Add for Modulo<P> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self((self.0 + other.0) % P)
    }
}

impl<const P: u32> Sub for Modulo<P> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self((self.0 + P - other.0) % P)
    }
}

impl<const P: u32> Mul for Modulo<P> {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0 % P)
    }
}

impl<const P: u32> Field for Modulo<P> {
    fn of(value: u8) -> Self {
        Self(u32::from(value) % P)
    }

    fn inverse(self) -> Self {
        (0..P - 2).fold(Self(1), |power, _| power * self)
    }
}

fn all<const P: u32>() -> impl Iterator<Item = Modulo<P>> + Clone {
    (0..P).map(Modulo)
}

/// Every secret with every coefficient, at every position: whatever the secret is, a share takes
/// each value exactly once. A coefficient that is never zero, the bias of the byte-wise schemes,
/// would leave out the secret itself.
#[test]
fn one_share_of_two_takes_each_value_equally_often_whatever_the_secret_is() {
    const P: u32 = 257;
    for x in 1..=255 {
        for secret in all::<P>() {
            let mut seen = [0u8; P as usize];
            for coefficient in all::<P>() {
                seen[evaluate(&[secret, coefficient], x).0 as usize] += 1;
            }
            assert!(seen.iter().all(|count| *count == 1), "position {x}, secret {secret:?}");
        }
    }
}

#[test]
fn two_shares_of_three_take_each_pair_of_values_equally_often_whatever_the_secret_is() {
    const P: u32 = 17;
    for x in 1..16 {
        for y in x + 1..=16 {
            for secret in all::<P>() {
                let mut seen = [0u8; (P * P) as usize];
                for a in all::<P>() {
                    for b in all::<P>() {
                        let polynomial = [secret, a, b];
                        seen[(evaluate(&polynomial, x).0 * P + evaluate(&polynomial, y).0) as usize] += 1;
                    }
                }
                assert!(seen.iter().all(|count| *count == 1), "positions {x} and {y}, secret {secret:?}");
            }
        }
    }
}

/// The strongest observer short of the threshold: one share of two with its blinding, and every
/// commitment, in a group so small that it can take all discrete logarithms (a commitment is then
/// `coefficient + h * blinding`). Its view is distributed alike for every secret.
#[test]
fn a_share_and_all_commitments_together_say_nothing_about_the_secret() {
    const P: u32 = 13;
    let h = Modulo::<P>(5);
    let view_of = |secret| {
        let mut view: BTreeMap<_, u32> = BTreeMap::new();
        for a in all::<P>() {
            for b in all::<P>() {
                for c in all::<P>() {
                    let (values, blindings) = ([secret, a], [b, c]);
                    let commitments = [secret + h * b, a + h * c];
                    let share = (evaluate(&values, 3), evaluate(&blindings, 3));
                    *view.entry((commitments, share)).or_default() += 1;
                }
            }
        }
        view
    };
    let first = view_of(Modulo(0));
    for secret in all::<P>().skip(1) {
        assert!(view_of(secret) == first, "secret {secret:?}");
    }
}

#[test]
fn any_k_values_give_the_constant_back() {
    const P: u32 = 31;
    for secret in all::<P>() {
        let polynomial = [secret, Modulo(7), Modulo(0), Modulo(19)];
        for first in 1..24u8 {
            let xs = [first + 3, first, first + 6, first + 1];
            let factors = factors_at_zero::<Modulo<P>>(&xs);
            let combined = xs.iter().zip(factors).fold(Modulo(0), |sum, (x, f)| sum + evaluate(&polynomial, *x) * f);
            assert_eq!(combined, secret, "at {xs:?}");
        }
    }
}

#[test]
fn scalars_follow_the_same_arithmetic() {
    let polynomial = [Scalar::from(11u8), Scalar::from(5u8), Scalar::from(3u8)];
    assert_eq!(evaluate(&polynomial, 2), Scalar::from(33u8));
    assert_eq!(factors_at_zero::<Scalar>(&[1, 2, 3]), [Scalar::from(3u8), -Scalar::from(3u8), Scalar::from(1u8)]);
}
