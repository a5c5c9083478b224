//! Contracts, through the executor that runs them.

mod accusations;
mod custody;
mod decryptions;
mod governance;
mod medical;
mod membership;
mod register;
mod requests;
mod reshare;
