//! Keep it sealed: the payload format, data keys, verifiable shares, the custodian's state machine
//! and the payload stores. Decides and computes; opens no socket, reads no clock.

pub mod crypt4gh;
pub mod custodian;
pub mod keys;
pub mod payload;
pub mod remark;
pub mod seal;
pub mod share;
pub mod store;
