//! A signature is let in once, whatever the clock does.

use super::*;

const NOW_S: u64 = 1_795_372_245;

const REPLAYED: Result<(), NonceError> = Err(NonceError::Signature(SignatureError::Replayed));
const TOO_OLD: Result<(), NonceError> = Err(NonceError::Signature(SignatureError::Time));

fn request(key: PublicKey, nonce: usize, created_s: u64) -> Verified {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&nonce.to_le_bytes());
    Verified { key, nonce: Nonce::new(bytes), created_s }
}

fn nth_key(n: usize) -> PublicKey {
    PublicKey::new([u8::try_from(n).unwrap(); 32])
}

#[test]
fn a_request_is_let_in_once() {
    let mut nonces = Nonces::default();
    let first = request(nth_key(9), 1, NOW_S);
    assert_eq!(nonces.admit(&first, NOW_S), Ok(()));
    for now_s in [NOW_S, NOW_S + 1, NOW_S + WINDOW_S, NOW_S + TTL_S] {
        assert_eq!(nonces.admit(&first, now_s), REPLAYED);
    }
    // Another time or path under the same nonce is the same nonce; another key's is not.
    assert_eq!(nonces.admit(&request(nth_key(9), 1, NOW_S + 1), NOW_S), REPLAYED);
    assert_eq!(nonces.admit(&request(nth_key(2), 1, NOW_S), NOW_S), Ok(()));
    assert_eq!(nonces.admit(&request(nth_key(9), 2, NOW_S), NOW_S), Ok(()));
}

#[test]
fn a_nonce_is_forgotten_only_when_its_signature_is_too_old() {
    let mut nonces = Nonces::default();
    let first = request(nth_key(9), 1, NOW_S + WINDOW_S);
    nonces.admit(&first, NOW_S).unwrap();
    // One that came after it and was made before it.
    let second = request(nth_key(9), 2, NOW_S);
    nonces.admit(&second, NOW_S).unwrap();
    let later = NOW_S + TTL_S + 1;
    assert_eq!(nonces.admit(&first, later), TOO_OLD);
    assert_eq!(nonces.admit(&second, later), TOO_OLD);
    // A new request under the same nonce is let in, and so is one from the edge of the window.
    assert_eq!(nonces.admit(&request(nth_key(9), 1, later), later), Ok(()));
    assert_eq!(nonces.admit(&request(nth_key(9), 2, later - WINDOW_S), later), Ok(()));
}

#[test]
fn a_clock_that_goes_back_lets_nothing_in_twice() {
    let mut nonces = Nonces::default();
    let first = request(nth_key(9), 1, NOW_S);
    nonces.admit(&first, NOW_S).unwrap();
    let ahead = NOW_S + 3600;
    nonces.admit(&request(nth_key(9), 2, ahead), ahead).unwrap();
    assert_eq!(nonces.admit(&first, NOW_S), TOO_OLD);
    // Requests made after it still come in.
    assert_eq!(nonces.admit(&request(nth_key(9), 3, NOW_S + 1), NOW_S), Ok(()));
}

#[test]
fn one_key_cannot_take_the_room_of_others() {
    let mut nonces = Nonces::default();
    for n in 0..NONCES_PER_KEY {
        nonces.admit(&request(nth_key(1), n, NOW_S), NOW_S).unwrap();
    }
    let one_more = request(nth_key(1), NONCES_PER_KEY, NOW_S);
    assert_eq!(nonces.admit(&one_more, NOW_S), Err(NonceError::KeyBusy));
    assert_eq!((NonceError::KeyBusy.status(), NonceError::KeyBusy.code()), (429, "busy"));
    assert_eq!(nonces.admit(&request(nth_key(1), 0, NOW_S), NOW_S), REPLAYED);
    assert_eq!(nonces.admit(&request(nth_key(2), 0, NOW_S), NOW_S), Ok(()));
    // What was refused is not remembered, and there is room again in time.
    let later = NOW_S + TTL_S + 1;
    assert_eq!(nonces.admit(&Verified { created_s: later, ..one_more }, later), Ok(()));
}

#[test]
fn memory_is_bounded_over_all_keys() {
    let mut nonces = Nonces::default();
    for key in 0..NONCES / NONCES_PER_KEY {
        for n in 0..NONCES_PER_KEY {
            nonces.admit(&request(nth_key(key), n, NOW_S), NOW_S).unwrap();
        }
    }
    let stranger = request(nth_key(200), 0, NOW_S);
    assert_eq!(nonces.admit(&stranger, NOW_S), Err(NonceError::Busy));
    assert_eq!((NonceError::Busy.status(), NonceError::Busy.code()), (503, "overloaded"));
    assert_eq!(nonces.admit(&request(nth_key(0), 0, NOW_S), NOW_S), REPLAYED);
    let later = NOW_S + TTL_S + 1;
    assert_eq!(nonces.admit(&Verified { created_s: later, ..stranger }, later), Ok(()));
    let remembered = (nonces.queue.len(), nonces.seen.len(), nonces.counts.len());
    assert_eq!(remembered, (1, 1, 1), "everything else is forgotten, in all three tables");
}
