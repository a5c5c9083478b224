//! HPKE: shares sealed to one-time keys.
