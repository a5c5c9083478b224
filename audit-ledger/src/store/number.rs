//! Numbers within keys and values: short, and in order as bytes.
//!
//! # Encoding
//! `len u8 ‖ big-endian[len]`, without leading zeros; zero is the length alone.

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    out.push(8 - u8::try_from(zeros).unwrap_or(8));
    out.extend(bytes.iter().skip(zeros));
}

/// The number that these bytes begin with, and what follows it; `None` when it is none, or not the one encoding of it.
pub(crate) fn take(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (len, rest) = bytes.split_first()?;
    let (digits, rest) = rest.split_at_checked(usize::from(*len))?;
    if digits.len() > 8 || digits.first() == Some(&0) {
        return None;
    }
    Some((digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, number);
        bytes
    }

    proptest! {
        #[test]
        fn numbers_are_in_order_as_bytes_and_come_back(a: u64, b: u64, shift in 0u32..64, rest: Vec<u8>) {
            let (a, b) = (a >> shift, b >> (63 - shift));
            prop_assert_eq!(encoded(a).cmp(&encoded(b)), a.cmp(&b));
            let followed = [encoded(a), rest.clone()].concat();
            prop_assert_eq!(take(&followed), Some((a, rest.as_slice())));
        }
    }

    #[test]
    fn a_number_has_one_encoding() {
        assert_eq!(encoded(0), [0]);
        assert_eq!(encoded(258), [2, 1, 2]);
        assert_eq!(encoded(u64::MAX), [8, 255, 255, 255, 255, 255, 255, 255, 255]);
        for other in [&[][..], &[1], &[1, 0], &[2, 0, 1], &[9, 1, 1, 1, 1, 1, 1, 1, 1, 1]] {
            assert_eq!(take(other), None, "{other:?}");
        }
    }
}
