//! Act: the program `dmdl`, the only place with sockets, clocks and a command line.
//!
//! [`node`] runs a node; [`client`] is what people do at one; [`commands`] is the command line.

pub mod client;
pub mod commands;
pub mod exit;
pub mod gateway;
pub mod http;
pub mod keyfile;
pub mod local;
pub mod network_file;
pub mod node;
pub mod problem;

mod address;
mod changes_file;
mod charter_file;
mod node_file;
mod spec;
mod text_file;
