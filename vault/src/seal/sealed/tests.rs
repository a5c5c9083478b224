//! The suite behind a seal, against the standard.

use hpke::{
    Deserializable as _, OpModeR, OpModeS, Serializable as _, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    single_shot_open, single_shot_seal_with_rng,
};
use rand_core::{TryCryptoRng, TryRng};
use std::convert::Infallible;

/// Gives out the ephemeral key material of a test vector.
struct Fixed([u8; 32]);

impl TryRng for Fixed {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("key material is drawn at once")
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("key material is drawn at once")
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

/// RFC 9180, appendix A.2.1: base mode of the suite, sequence number 0.
#[test]
fn sealing_and_opening_follow_the_standard() {
    let unhex = |text| hex::decode(text).unwrap();
    let info = unhex("4f6465206f6e2061204772656369616e2055726e");
    let public = unhex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a");
    let secret = unhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
    let ephemeral = unhex("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
    let enc = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
    let (aad, plain) = (b"Count-0", unhex("4265617574792069732074727574682c20747275746820626561757479"));
    let ciphertext =
        concat!("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db", "21993c62ce81883d2dd1b51a28");

    let public = super::PublicKey::from_bytes(&public).unwrap();
    let mut rng = Fixed(ephemeral.try_into().unwrap());
    let (sent, sealed) = single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, super::Kem>(
        &OpModeS::Base,
        &public,
        &info,
        &plain,
        aad,
        &mut rng,
    )
    .unwrap();
    assert_eq!((hex::encode(sent.to_bytes()), hex::encode(&sealed)), (enc.into(), ciphertext.into()));

    let opened = single_shot_open::<ChaCha20Poly1305, HkdfSha256, super::Kem>(
        &OpModeR::Base,
        &super::PrivateKey::from_bytes(&secret).unwrap(),
        &sent,
        &info,
        &sealed,
        aad,
    );
    assert_eq!(opened.unwrap(), plain);
}
