//! Notes as the C2SP pages print them, and what is not a note.

use super::*;
use crate::sign::PublicKey;

/// The example of C2SP signed-note.
const POEM: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
    \u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

/// The example of C2SP tlog-cosignature.
const WITNESSED: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
    \u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

#[test]
fn the_examples_of_the_standard_are_read_and_printed_alike() {
    for example in [POEM, WITNESSED] {
        assert_eq!(Note::parse(example.as_bytes()).map(|note| note.to_string()), Ok(example.to_string()));
    }
    let poem = Note::parse(POEM.as_bytes()).unwrap();
    assert!(poem.text().ends_with("\n\ned è subito sera.\n"), "the text may have empty lines of its own");
    let witnessed = Note::parse(WITNESSED.as_bytes()).unwrap();
    let [_, cosignature] = witnessed.signatures() else { panic!("two lines") };
    assert_eq!(cosignature.key_id.to_string(), "8d66cf3f");
    let timed = TimedSignature::from_bytes(&cosignature.signature).unwrap();
    assert_eq!(timed.time_unix_s, 1_679_315_147);
    assert_eq!(timed.to_bytes(), cosignature.signature);
}

#[test]
fn the_cosigned_message_is_that_of_the_standard() {
    let witnessed = Note::parse(WITNESSED.as_bytes()).unwrap();
    let expected = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(cosigned_message(witnessed.text(), 1_679_315_147), expected.as_bytes());
}

#[test]
fn what_prints_otherwise_is_no_note() {
    let line = "\u{2014} n AAAAAAA=\n";
    assert!(Note::parse(format!("text\n\n{line}").as_bytes()).is_ok());
    let signature_line = NoteError::SignatureLine { number: 1 };
    let bad: [(&[u8], NoteError); 15] = [
        (b"", NoteError::NoSignatures),
        (b"text\n", NoteError::NoSignatures),
        (b"text\n\n", NoteError::NoSignatures),
        ("text\n\u{2014} n AAAAAAA=\n".as_bytes(), NoteError::NoSignatures),
        ("text\n\n\u{2014} n AAAAAAA=\n\n".as_bytes(), NoteError::NoSignatures),
        ("text\r\n\r\n\u{2014} n AAAAAAA=\r\n".as_bytes(), NoteError::NotText),
        ("te\tt\n\n\u{2014} n AAAAAAA=\n".as_bytes(), NoteError::NotText),
        (b"te\xfft\n\n\xe2\x80\x94 n AAAAAAA=\n", NoteError::NotText),
        (b"text\n\n- n AAAAAAA=\n", signature_line.clone()),
        ("text\n\n\u{2014} n AAAAAAA=".as_bytes(), signature_line.clone()),
        ("text\n\n\u{2014}  AAAAAAA=\n".as_bytes(), signature_line.clone()),
        ("text\n\n\u{2014} a+b AAAAAAA=\n".as_bytes(), signature_line.clone()),
        ("text\n\n\u{2014} n AAAAAA==\n".as_bytes(), signature_line.clone()),
        ("text\n\n\u{2014} n AAAAAAB=\n".as_bytes(), signature_line.clone()),
        ("text\n\n\u{2014} n AAAAAAA=\n\u{2014} n\n".as_bytes(), NoteError::SignatureLine { number: 2 }),
    ];
    for (bytes, error) in bad {
        assert_eq!(Note::parse(bytes), Err(error), "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_note_has_bounds() {
    let line = "\u{2014} n AAAAAAA=\n";
    assert!(Note::parse(format!("t\n\n{}", line.repeat(SIGNATURES_MAX)).as_bytes()).is_ok());
    let crowded = format!("t\n\n{}", line.repeat(SIGNATURES_MAX + 1));
    assert_eq!(Note::parse(crowded.as_bytes()), Err(NoteError::TooManySignatures));
    let long = format!("{}\n\n{line}", "t".repeat(NOTE_LEN_BYTES_MAX));
    assert_eq!(Note::parse(long.as_bytes()), Err(NoteError::TooLong));
}

#[test]
fn a_verifier_key_has_one_spelling() {
    // The public key of RFC 8032 section 7.1, test 1.
    let key: PublicKey = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".parse().unwrap();
    let cosigner = CosignerKey::new(KeyName::new("witness.example/w1").unwrap(), key);
    let text = cosigner.to_string();
    assert_eq!(text.parse(), Ok(cosigner));
    assert_eq!(text, "witness.example/w1+eb762cc2+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea");

    let bad = [
        ("witness.example/w1+eb762cc2", VerifierKeyError::Malformed),
        ("+eb762cc2+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea", VerifierKeyError::Malformed),
        ("witness.example/w1+eb762cc2+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1E", VerifierKeyError::Malformed),
        ("witness.example/w1+eb762cc2+BNdamAGCsQ==", VerifierKeyError::Malformed),
        ("witness.example/w1+eb762cc2+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea", VerifierKeyError::OtherType),
        ("witness.example/w2+eb762cc2+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea", VerifierKeyError::WrongKeyId),
        ("witness.example/w1+EB762CC2+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea", VerifierKeyError::WrongKeyId),
    ];
    for (text, error) in bad {
        assert_eq!(text.parse::<CosignerKey>(), Err(error), "{text}");
    }
}
