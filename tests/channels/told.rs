//! What a gateway tells those who are on a channel, and that it tells the others what it tells of no channel.

use super::hosts::World;
use crate::NAME;
use dmdl::{
    client::{AskGatewayError, HttpGateway, learn},
    gateway::{Config, Server},
    local::Identity,
    problem::Problem,
};
use dmdl_types::id::ChannelName;
use serde_json::Value;
use std::net::SocketAddr;

/// Routes of a channel: for anybody, for its people, and for officers.
const ROUTES: [&str; 14] = [
    "status",
    "members",
    "reputation",
    "charter",
    "persons",
    "configuration",
    "configurations?after=0",
    "proposals",
    "records",
    "requests",
    "audit/checkpoint",
    "audit/proof?old=0&new=0",
    "audit/events",
    "records/0000000000000000000000000000000000000000000000000000000000000001",
];

fn serve(world: &World) -> Server {
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        uploads: world.dir.path().join("uploads"),
        ..Config::default()
    };
    let host = world.nodes.node(0).unwrap().host().clone();
    world.run(Server::start(config, host)).unwrap()
}

fn at(world: &World, server: &Server, who: &Identity, channel: &str) -> HttpGateway {
    let url = format!("http://{}", server.address());
    let founding = world.nodes.genesis().founding();
    HttpGateway::new(&url, None, &founding, &who.key).unwrap().on(&ChannelName::new(channel).unwrap())
}

fn problem(answer: Result<Value, AskGatewayError>) -> Option<Problem> {
    match answer {
        Err(AskGatewayError::Problem(problem)) => Some(problem),
        // An answer, in JSON or not.
        _ => None,
    }
}

#[test]
fn whoever_is_not_on_a_channel_is_told_what_is_told_of_none() {
    let world = World::start();
    let founding = world.found();
    let server = serve(&world);
    for route in ROUTES {
        let ask = |gateway: HttpGateway| problem(world.run(gateway.get(route)));
        let of = |channel: &str| ask(at(&world, &server, &world.stranger, channel));
        let (hidden, none) = (of(NAME), of("nothing"));
        assert_eq!(hidden.as_ref().map(|problem| problem.code.as_ref()), Some("unknown_channel"), "{route}");
        assert_eq!(hidden, none, "{route}");
        let of = |channel: &str| ask(at(&world, &server, &world.owner, channel).unsigned());
        assert_eq!(of(NAME), of("nothing"), "{route}, unsigned");
        let told = ask(at(&world, &server, &world.owner, NAME)).map(|problem| problem.code);
        assert_ne!(told.as_deref(), Some("unknown_channel"), "{route}");
    }
    let listed = |who: &Identity| {
        let listed = world.run(at(&world, &server, who, "main").channels()).unwrap();
        listed["items"].as_array().unwrap().len()
    };
    assert_eq!((listed(&world.owner), listed(&world.stranger)), (2, 1));

    let (home, name) = (tempfile::tempdir().unwrap(), ChannelName::new(NAME).unwrap());
    let shown = world.run(at(&world, &server, &world.owner, NAME).charter()).unwrap();
    let believed = learn(home.path(), world.nodes.genesis(), &name, &shown).unwrap();
    assert_eq!(believed, founding);
    // Another charter of the same admins under the same name.
    let mut other = world.charter(0);
    other.charter.seed = [8; 32];
    world.admins.iter().take(4).for_each(|admin| other.approve(&admin.key));
    assert!(learn(home.path(), world.nodes.genesis(), &name, &other).is_err(), "the first one is kept");
    world.run(server.stop());
}
