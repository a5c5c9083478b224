//! `dmdl status`: how the network stands, as a gateway tells it to anybody.

use super::{Report, failure, session::Globals, text};
use crate::exit::{Exit, Failure};
use serde_json::{Map, Value, json};

/// What is told of a channel.
const MEMBERS: [&str; 14] = [
    "name",
    "id",
    "height",
    "block",
    "state_root",
    "epoch",
    "view",
    "primary",
    "qualified",
    "reputation",
    "peers",
    "log_size",
    "time",
    "single_org_demo",
];
/// Those that have tables of their own.
const TABLES: [&str; 3] = ["qualified", "reputation", "peers"];

pub(super) fn run(globals: &Globals) -> Result<Report, Failure> {
    let visit = globals.visit()?;
    let told = visit.run(visit.gateway.get("status")).map_err(|error| failure::gateway(&error))?;
    report(visit.genesis, &told)
}

/// What a gateway tells of its channel, if it is of the pinned network.
fn report(pinned: dmdl_types::id::NetworkId, told: &Value) -> Result<Report, Failure> {
    let seen = told.get("network").and_then(Value::as_str).unwrap_or_default();
    if seen != pinned.to_string() {
        let seen = text::line(seen).chars().take(64).collect::<String>();
        let detail = format!("the gateway is of network `{seen}`, but `{pinned}` is pinned");
        return Err(Failure::new(Exit::Configuration, "genesis_mismatch", detail));
    }
    let member = |name: &&str| ((*name).to_owned(), told.get(*name).cloned().unwrap_or(Value::Null));
    let mut channel: Map<String, Value> = MEMBERS.iter().map(member).collect();
    let shown = text(pinned, &channel);
    if let Some(time) = channel.get_mut("time").filter(|time| time.is_u64()) {
        *time = time.as_u64().map(text::time).into();
    }
    let json = json!({ "genesis": pinned, "channels": [channel] });
    Ok(Report { text: shown, json, exit: Exit::Ok })
}

fn text(pinned: dmdl_types::id::NetworkId, channel: &Map<String, Value>) -> String {
    let mut head = Map::from_iter([("genesis".to_owned(), json!(pinned))]);
    let single = channel.iter().filter(|(name, _)| !TABLES.contains(&name.as_str()));
    head.extend(single.map(|(name, value)| (name.clone(), value.clone())));
    let rows = |name: &str| channel.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let qualified = rows("qualified");
    let score = rows("reputation").iter().map(|row| {
        let at = |name: &str| percent(row.get(name));
        let may = row.get("node").is_some_and(|node| qualified.contains(node));
        let may = if may { "yes" } else { "no" };
        vec![
            text::clean(row.get("node")),
            at("endorsing"),
            at("committing"),
            at("ordering"),
            at("total"),
            may.to_owned(),
        ]
    });
    let score = text::table(&["REPUTATION OF", "ENDORSING", "COMMITTING", "ORDERING", "TOTAL", "QUALIFIED"], score);
    let peers = rows("peers").iter().map(|row| {
        let roles = row.get("roles").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let roles = roles.iter().map(|role| text::clean(Some(role))).collect::<Vec<_>>().join(",");
        vec![text::clean(row.get("node")), text::clean(row.get("org")), roles]
    });
    let peers = text::table(&["PEER", "ORGANISATION", "ROLES"], peers);
    format!("{}\n\n{score}\n\n{peers}", text::fields(&Value::Object(head)))
}

/// A score, which is told in parts per million.
fn percent(score: Option<&Value>) -> String {
    match score.and_then(Value::as_u64) {
        Some(ppm) => format!("{}.{}%", ppm / 10_000, ppm / 1_000 % 10),
        None => text::clean(score),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmdl_types::id::NetworkId;

    fn told(network: NetworkId) -> Value {
        json!({
            "network": network, "name": "main", "id": "c", "height": 7, "block": "b", "state_root": "s", "epoch": 0,
            "view": 8, "primary": "n1", "qualified": ["n1"], "log_size": 9, "time": 1000,
            "single_org_demo": false,
            "reputation": [{ "node": "n1", "endorsing": null, "committing": 0, "ordering": 999_999, "total": 1_000_000 }],
            "peers": [{ "node": "n1", "org": "o\u{1b}", "roles": ["orderer", "committer"] }],
        })
    }

    #[test]
    fn the_status_has_the_members_that_scripts_rely_on() {
        let network = NetworkId::new([1; 32]);
        let report = report(network, &told(network)).unwrap();
        assert_eq!(report.json["genesis"], json!(network));
        let channel = &report.json["channels"][0];
        for name in MEMBERS {
            assert!(!channel[name].is_null(), "{name}");
        }
        assert_eq!(channel["time"], "1970-01-01T00:00:01.000Z");
        assert_eq!(channel["reputation"][0]["total"], 1_000_000);
        let lines: Vec<Vec<&str>> = report.text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines.contains(&vec!["n1", "-", "0.0%", "99.9%", "100.0%", "yes"]), "{}", report.text);
        assert!(lines.contains(&vec!["n1", "o?", "orderer,committer"]), "{}", report.text);
    }

    #[test]
    fn a_gateway_of_another_network_is_not_heard() {
        let refused = report(NetworkId::new([1; 32]), &told(NetworkId::new([2; 32]))).unwrap_err();
        assert_eq!((refused.exit, refused.code.as_ref()), (Exit::Configuration, "genesis_mismatch"));
        assert!(report(NetworkId::new([1; 32]), &json!({})).is_err());
    }
}
