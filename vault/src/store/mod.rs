//! Where sealed payloads are kept.
