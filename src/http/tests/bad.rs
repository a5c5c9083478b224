//! What is refused, and why.

use super::*;

fn created(text: &str) -> Request {
    get().crafted(&format!("created={NOW_S}"), text)
}

/// HMAC-SHA256 as in RFC 2104, for keys of at most a block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| (0..64).map(|i| key.get(i).unwrap_or(&0) ^ byte).collect::<Vec<u8>>();
    let inner = Sha256::digest([pad(0x36), message.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).into()
}

/// Adds the group order to the scalar half of a signature: the classic malleability.
fn malleated(request: &Request) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bytes = signature_of(request);
    let mut carry = 0;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
    bytes
}

fn signature_of(request: &Request) -> Vec<u8> {
    let text = request.get("signature").strip_prefix("dmdl=:").unwrap().strip_suffix(':').unwrap();
    STANDARD.decode(text).unwrap()
}

/// A signature without a secret: of the neutral point, which ordinary verification takes for any message.
fn of_small_order() -> Request {
    let (mut key, mut signature) = ([0; 32], [0x66; 64]);
    key[0] = 1;
    // R is the base point and S is 1.
    signature[0] = 0x58;
    signature[32..].fill(0);
    signature[32] = 1;
    let request = get().edit("signature-input", &self::key().public().to_string(), &hex::encode(key));
    convinces_ordinary_verification(&request, &key, &signature);
    request.with_signature(&signature)
}

/// A signature by the key's holder whose `R` is the neutral point, which ordinary verification takes as well.
fn with_small_order() -> Request {
    let mut signature = [0; 64];
    signature[0] = 1;
    // S is the challenge times the secret scalar: worked out once, for this request.
    let scalar = "e318681beca868c466f52c71559b0869557ff468570fef2d7066a85107ebcc0c";
    hex::decode_to_slice(scalar, &mut signature[32..]).unwrap();
    convinces_ordinary_verification(&get(), key().public().as_bytes(), &signature);
    get().with_signature(&signature)
}

fn convinces_ordinary_verification(request: &Request, key: &[u8; 32], signature: &[u8; 64]) {
    let key = ed25519_dalek::VerifyingKey::from_bytes(key).unwrap();
    let verified = ed25519_dalek::Verifier::verify(&key, request.base().as_bytes(), &signature.into());
    assert!(verified.is_ok(), "a forgery that nobody believes tests nothing");
}

/// One request for each way to be wrong, and the code that it gets.
pub(super) fn bad() -> Vec<(&'static str, Request, &'static str)> {
    let mut bad = unsigned_or_ambiguous();
    bad.extend(with_bad_parameters());
    bad.extend(with_bad_digests());
    bad.extend(with_bad_signatures());
    bad
}

fn unsigned_or_ambiguous() -> Vec<(&'static str, Request, &'static str)> {
    let (input, signature) = ("signature-input", "signature");
    let good = get();
    let twice = |name: &str, label: &str| {
        let other = good.get(name).replacen("dmdl=", label, 1);
        good.clone().edit(name, "dmdl=", &format!("{other}, dmdl="))
    };
    let both = |label: &str| {
        let other = good.get(signature).replacen("dmdl=", label, 1);
        twice(input, label).set(signature, &format!("{}, {other}", good.get(signature)))
    };
    let renamed = get().edit(input, "dmdl=", "sig1=").edit(signature, "dmdl=", "sig1=");
    let long = get().edit(input, ";tag=", &format!(";tag=\"{}\";tag=", "a".repeat(2048)));
    vec![
        ("no signature", Request::unsigned("GET", "/", None, b""), "sig_missing"),
        ("parameters without a signature", get().without(signature), "sig_missing"),
        ("a signature without parameters", get().without(input), "sig_missing"),
        ("an empty signature field", get().set(signature, ""), "sig_missing"),
        ("a signature of another label alone", renamed, "sig_missing"),
        (
            "one label in the parameters and another in the signature",
            get().edit(signature, "dmdl=", "sig1="),
            "sig_missing",
        ),
        (
            "a second label with a signature that does not verify",
            both("other=").edit(signature, "other=:", "other=:A"),
            "sig_ambiguous",
        ),
        ("a second label with a signature that verifies", both("other="), "sig_ambiguous"),
        ("the same label twice", both("dmdl="), "sig_ambiguous"),
        ("a second label in the parameters only", twice(input, "other="), "sig_ambiguous"),
        ("a second label in the signature only", twice(signature, "other="), "sig_ambiguous"),
        ("two signature fields", get().push(signature, good.get(signature)), "sig_ambiguous"),
        ("two fields of parameters", get().push(input, good.get(input)), "sig_ambiguous"),
        ("a field that is too long", long, "sig_invalid"),
    ]
}

fn with_bad_parameters() -> Vec<(&'static str, Request, &'static str)> {
    let alg = |text: &str| get().crafted(r#";alg="ed25519""#, text);
    let confused = get().edit("signature-input", "ed25519", "hmac-sha256");
    let confused = confused.clone().with_signature(&hmac(key().public().as_bytes(), confused.base().as_bytes()));
    let nonce = |text: &str| get().crafted(&format!(r#";nonce="{}""#, STANDARD.encode(NONCE.as_bytes())), text);
    let tag = |text: &str| get().crafted(&format!(r#";tag="dmdl:{}""#, network()), text);
    let keyid = |text: &str| get().crafted(&format!(r#";keyid="{}""#, key().public()), text);
    let cover = |text: &str| get().crafted(r#"("@method" "@authority" "@path" "@query")"#, text);
    let other_host = Request { authority: "other.example:8443".to_owned(), ..get() }.signed();
    let moved = Request { authority: HOSTS[1].to_owned(), ..get() };
    let other_network = get().signed_by(&key(), NetworkId::new([0xa2; 32]), NOW_S);
    vec![
        ("HMAC with the public key as the secret", confused, "alg_not_allowed"),
        ("the algorithm `none`", alg(r#";alg="none""#), "alg_not_allowed"),
        ("an empty algorithm", alg(r#";alg="""#), "alg_not_allowed"),
        ("no algorithm", alg(""), "alg_not_allowed"),
        ("the algorithm as a token", alg(";alg=ed25519"), "alg_not_allowed"),
        ("the algorithm in upper case", alg(r#";alg="ED25519""#), "alg_not_allowed"),
        ("two algorithms", alg(r#";alg="ed25519";alg="ed25519""#), "sig_ambiguous"),
        ("made an hour ago", get().signed_by(&key(), network(), NOW_S - 3600), "sig_time"),
        ("made in an hour", get().signed_by(&key(), network(), NOW_S + 3600), "sig_time"),
        ("made a second too early", get().signed_by(&key(), network(), NOW_S - 61), "sig_time"),
        ("made a second too late", get().signed_by(&key(), network(), NOW_S + 61), "sig_time"),
        ("no time", get().crafted(&format!(";created={NOW_S}"), ""), "sig_time"),
        ("a negative time", created(&format!("created=-{NOW_S}")), "sig_time"),
        ("a time of 2 to the 63", created("created=9223372036854775808"), "sig_time"),
        ("a time of 2 to the 64 and now", created("created=18446744075504923861"), "sig_time"),
        ("a time with a fraction", created(&format!("created={NOW_S}.0")), "sig_time"),
        ("a time as a string", created(&format!("created=\"{NOW_S}\"")), "sig_time"),
        ("a time as a date", created(&format!("created=@{NOW_S}")), "sig_time"),
        ("a time with a leading zero", created(&format!("created=0{NOW_S}")), "sig_time"),
        ("a time with a sign", created(&format!("created=+{NOW_S}")), "sig_time"),
        ("an empty time", created("created="), "sig_time"),
        ("two times", created(&format!("created={NOW_S};created={NOW_S}")), "sig_ambiguous"),
        ("made for another host", other_host, "sig_context"),
        ("made for another network", other_network, "sig_context"),
        ("no tag", tag(""), "sig_context"),
        ("the tag of another product", tag(r#";tag="app""#), "sig_context"),
        ("a tag with more behind it", tag(&format!(r#";tag="dmdl:{} ""#, network())), "sig_context"),
        ("moved to the gateway's other host", moved, "sig_invalid"),
        ("no key", keyid(""), "sig_invalid"),
        (
            "a key in upper case",
            keyid(&format!(r#";keyid="{}""#, key().public().to_string().to_uppercase())),
            "sig_invalid",
        ),
        ("half a key", keyid(&format!(r#";keyid="{}""#, "8a".repeat(16))), "sig_invalid"),
        ("a key that is no point", keyid(&format!(r#";keyid="02{}""#, "0".repeat(62))), "sig_invalid"),
        ("no nonce", nonce(""), "sig_invalid"),
        ("a nonce of 15 bytes", nonce(&format!(r#";nonce="{}""#, STANDARD.encode([0x51; 15]))), "sig_invalid"),
        ("a nonce without padding", nonce(r#";nonce="UVFRUVFRUVFRUVFRUVFRUQ""#), "sig_invalid"),
        ("a nonce in a second spelling", nonce(r#";nonce="UVFRUVFRUVFRUVFRUVFRUR==""#), "sig_invalid"),
        ("a nonce as a byte sequence", nonce(";nonce=:UVFRUVFRUVFRUVFRUVFRUQ==:"), "sig_invalid"),
        ("an expiry", get().crafted(";tag", &format!(";expires={};tag", NOW_S + 60)), "sig_invalid"),
        ("a parameter without a value", get().crafted(";tag", ";fresh;tag"), "sig_invalid"),
        ("a space between parameters", get().crafted(";tag", "; tag"), "sig_invalid"),
        ("a semicolon at the end", get().crafted(";tag", ";;tag"), "sig_invalid"),
        ("an unfinished string", get().edit("signature-input", ";tag=\"dmdl", ";tag=\"dmdl\";x=\""), "sig_invalid"),
        ("no method covered", cover(r#"("@authority" "@path" "@query")"#), "sig_invalid"),
        ("no host covered", cover(r#"("@method" "@path" "@query")"#), "sig_invalid"),
        ("no path covered", cover(r#"("@method" "@authority" "@query")"#), "sig_invalid"),
        ("no query covered", cover(r#"("@method" "@authority" "@path")"#), "sig_invalid"),
        ("nothing covered", cover("()"), "sig_invalid"),
        ("no list", cover(""), "sig_invalid"),
        ("a component twice", cover(r#"("@method" "@method" "@authority" "@path" "@query")"#), "sig_invalid"),
        ("one component more", cover(r#"("@method" "@authority" "@path" "@query" "@scheme")"#), "sig_invalid"),
        ("components in another order", cover(r#"("@authority" "@method" "@path" "@query")"#), "sig_invalid"),
        ("a component with a parameter", cover(r#"("@method" "@authority" "@path";req "@query")"#), "sig_invalid"),
    ]
}

fn with_bad_digests() -> Vec<(&'static str, Request, &'static str)> {
    let name = "content-digest";
    let other = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(b"{}")));
    let same = post().get(name).to_owned();
    let both_changed = Request { body: b"{}".to_vec(), ..post() }.set(name, &other);
    let digest = |text: &str| post().set(name, text).signed_anew();
    vec![
        ("another body", Request { body: b"{}".to_vec(), ..post() }, "digest_mismatch"),
        ("no body any more", Request { body: Vec::new(), ..post() }, "digest_mismatch"),
        ("another body with its digest", both_changed, "sig_invalid"),
        ("a body that nothing covers", Request { body: BODY.to_vec(), ..get() }, "digest_missing"),
        (
            "a body whose digest is not covered",
            Request { body: BODY.to_vec(), ..get() }.push(name, &same),
            "digest_missing",
        ),
        ("a digest that is covered but not there", post().without(name), "digest_missing"),
        ("two digests in one field", post().set(name, &format!("{same}, {same}")), "digest_ambiguous"),
        ("two digests in two fields", post().push(name, &other), "digest_ambiguous"),
        ("digests of two algorithms", digest(&format!("{same}, sha-512=:AAAA:")), "digest_ambiguous"),
        ("a digest of another algorithm", digest("sha-512=:AAAA:"), "digest_mismatch"),
        ("a digest in upper case", digest(&same.replace("sha", "SHA")), "digest_mismatch"),
        ("a digest without colons", digest(&same.replace(':', "")), "digest_mismatch"),
        ("a digest with a parameter", digest(&format!("{same};q=1")), "digest_mismatch"),
        ("an empty digest", digest("sha-256=::"), "digest_mismatch"),
    ]
}

fn with_bad_signatures() -> Vec<(&'static str, Request, &'static str)> {
    let mut other = signature_of(&get());
    other[0] ^= 1;
    let good = get().get("signature").to_owned();
    let signature = |text: String| get().set("signature", &text);
    vec![
        ("another method", Request { method: "DELETE".to_owned(), ..get() }, "sig_invalid"),
        ("another path", Request { path: "/v1/channels/main/requests".to_owned(), ..get() }, "sig_invalid"),
        ("a path with a slash more", Request { path: "/v1/channels/main/records/".to_owned(), ..get() }, "sig_invalid"),
        ("another query", Request { query: Some("limit=11".to_owned()), ..get() }, "sig_invalid"),
        ("no query any more", Request { query: None, ..get() }, "sig_invalid"),
        ("a later time", get().edit("signature-input", &NOW_S.to_string(), &(NOW_S + 1).to_string()), "sig_invalid"),
        ("another nonce", get().edit("signature-input", "UVFR", "UVFS"), "sig_invalid"),
        (
            "parameters in another order",
            get().edit("signature-input", r#";alg="ed25519""#, "").edit(
                "signature-input",
                ";created",
                r#";alg="ed25519";created"#,
            ),
            "sig_invalid",
        ),
        (
            "another key",
            get().edit(
                "signature-input",
                &key().public().to_string(),
                &SigningKey::from_seed(Secret32::new([2; 32])).public().to_string(),
            ),
            "sig_invalid",
        ),
        ("a changed signature", get().with_signature(&other), "sig_invalid"),
        ("a scalar beyond the group order", get().with_signature(&malleated(&get())), "sig_invalid"),
        ("a key of small order", of_small_order(), "sig_invalid"),
        ("an `R` of small order", with_small_order(), "sig_invalid"),
        ("a signature of 63 bytes", get().with_signature(&signature_of(&get())[..63]), "sig_invalid"),
        ("a signature of 65 bytes", get().with_signature(&[signature_of(&get()), vec![0]].concat()), "sig_invalid"),
        ("a signature without padding", signature(good.replace("==", "")), "sig_invalid"),
        ("a signature as a string", signature(good.replace(':', "\"")), "sig_invalid"),
        ("a signature with a parameter", signature(format!("{good};x=1")), "sig_invalid"),
        ("an empty signature", signature("dmdl=::".to_owned()), "sig_invalid"),
    ]
}
