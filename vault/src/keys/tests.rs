//! Keys differ wherever their contexts do, and weak keys are refused.

use super::*;
use dmdl_types::id::{ChannelId, DealingId, NetworkId, RecordId, RecordVersion, ShareEpoch, ShareIndex};
use std::collections::BTreeSet;

fn data() -> DataContext {
    DataContext {
        network: NetworkId::new([1; 32]),
        channel: ChannelId::new([2; 32]),
        record: RecordId::new([3; 32]),
        version: RecordVersion::new(1),
    }
}

fn share() -> ShareContext {
    ShareContext {
        data: data(),
        epoch: ShareEpoch::new(0),
        custodian: NodeId::new([4; 32]),
        index: ShareIndex::new(1),
        k: 2,
        n: 4,
        dealing: DealingId::new([5; 32]),
    }
}

fn hex_of(secret: &Secret32) -> String {
    secret.expose(|bytes| hex::encode(bytes))
}

fn unhex(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

#[test]
fn each_field_of_its_context_changes_a_data_key() {
    let secret = Secret32::new([9; 32]);
    let contexts = [
        data(),
        DataContext { network: NetworkId::new([0; 32]), ..data() },
        DataContext { channel: ChannelId::new([0; 32]), ..data() },
        DataContext { record: RecordId::new([0; 32]), ..data() },
        DataContext { version: RecordVersion::new(2), ..data() },
    ];
    let keys: BTreeSet<_> = contexts.iter().map(|context| hex_of(&data_key(&secret, context))).collect();
    assert_eq!(keys.len(), contexts.len());
    assert!(!keys.contains(&hex_of(&data_key(&Secret32::new([8; 32]), &data()))));
}

#[test]
fn one_seed_gives_each_custodian_and_each_decryption_another_opening_key() {
    let seed = Secret32::new([7; 32]);
    let mut keys = BTreeSet::new();
    for custodian in [1, 2, 3] {
        for nonce in [1, 2, 3] {
            keys.insert(hex_of(&opening_secret(&seed, &[nonce; 16], NodeId::new([custodian; 32]))));
        }
    }
    assert_eq!(keys.len(), 9);
    let mut publics: Vec<_> = keys.iter().map(|key| x25519_public(&Secret32::new(unhex(key)))).collect();
    publics.dedup();
    assert_eq!(publics.len(), 9);
    assert!(publics.iter().all(|key| check_x25519(key).is_ok()));
}

#[test]
fn a_stored_secret_wraps_each_share_under_another_key() {
    let stored = Secret32::new([6; 32]);
    let next = ShareContext { epoch: ShareEpoch::new(1), ..share() };
    assert_ne!(hex_of(&share_wrap_key(&stored, &share())), hex_of(&share_wrap_key(&stored, &next)));
}

/// RFC 5869, test case 3: HKDF-SHA256 without salt, as all derivations here are.
#[test]
fn derivation_without_salt_follows_the_standard() {
    let mut okm = [0; 42];
    Hkdf::<Sha256>::new(None, &[0x0b; 22]).expand(&[], &mut okm).unwrap();
    assert_eq!(
        hex::encode(okm),
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    );
}

/// RFC 7748, section 6.1.
#[test]
fn public_keys_follow_the_standard() {
    for (secret, public) in [
        (
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        ),
        (
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ),
    ] {
        assert_eq!(hex::encode(x25519_public(&Secret32::new(unhex(secret)))), public);
    }
}

/// Coordinates of every point of low order on the curve and its twist.
const LOW_ORDER: [&str; 5] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// The two of them that have a second spelling below 2^255.
const LOW_ORDER_UNREDUCED: [&str; 2] = [
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Every point of low order, in every spelling of 32 bytes.
pub(crate) fn weak_keys() -> Vec<[u8; 32]> {
    let low: Vec<_> = LOW_ORDER.into_iter().chain(LOW_ORDER_UNREDUCED).map(unhex).collect();
    let high = low.iter().map(|key| {
        let mut key = *key;
        key[31] |= 0x80;
        key
    });
    low.iter().copied().chain(high).collect()
}

#[test]
fn every_spelling_of_a_low_order_key_is_refused() {
    let keys = weak_keys();
    assert_eq!(keys.len(), 14);
    for (i, key) in keys.iter().enumerate() {
        let expected = if i < LOW_ORDER.len() { KeyError::LowOrder } else { KeyError::NonCanonical };
        assert_eq!(check_x25519(key), Err(expected), "{}", hex::encode(key));
        // Low order they are: a secret and its key, whichever, give zero.
        let shared = StaticSecret::from([7; 32]).diffie_hellman(&PublicKey::from(*key));
        assert_eq!(shared.to_bytes(), [0; 32], "{}", hex::encode(key));
    }
}

#[test]
fn a_second_spelling_of_a_good_key_is_refused() {
    // 9 is the base point's coordinate; 2^255 - 19 + 9 reads as the same.
    let mut base = [0; 32];
    base[0] = 9;
    assert_eq!(check_x25519(&base), Ok(()));
    let mut again = [0xff; 32];
    again[0] = 0xed + 9;
    again[31] = 0x7f;
    assert_eq!(check_x25519(&again), Err(KeyError::NonCanonical));
    base[31] = 0x80;
    assert_eq!(check_x25519(&base), Err(KeyError::NonCanonical));
}

#[test]
fn the_largest_reduced_coordinate_of_high_order_is_allowed() {
    let mut largest = [0xff; 32];
    largest[0] = 0xeb;
    largest[31] = 0x7f;
    assert_eq!(check_x25519(&largest), Ok(()));
}
