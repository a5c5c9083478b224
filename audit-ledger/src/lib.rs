pub mod commitment;
pub mod store;
