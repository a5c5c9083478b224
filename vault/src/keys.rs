//! Every derivation of a secret, on one screen.
