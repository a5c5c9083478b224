//! `dmdl status`: how the network stands, as a gateway tells it to anybody.

use super::{Report, failure, session::Globals, text};
use crate::exit::{Exit, Failure};
use serde_json::{Map, Value, json};

/// What is told of a channel.
const MEMBERS: [&str; 15] = [
    "name",
    "id",
    "height",
    "block",
    "state_root",
    "epoch",
    "votes",
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
    let (network, told) = if globals.is_first_channel()? {
        let visit = globals.visit_first()?;
        (visit.genesis, visit.run(visit.gateway.get("status")))
    } else {
        // Only its people know of another channel.
        let session = globals.connect_as(globals.insider()?)?;
        (session.client.trust().founding().domain.network, session.run(session.client.gateway().get("status")))
    };
    report(network, &told.map_err(|error| failure::gateway(&error))?)
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
    let score = rows("reputation").iter().map(standing);
    let score = text::table(
        &[
            "REPUTATION OF",
            "NODE",
            "ENDORSING",
            "COMMITTING",
            "ORDERING",
            "TOTAL",
            "TURNS",
            "FAULTS",
            "PROPOSES",
            "NEXT EPOCH",
        ],
        score,
    );
    let peers = rows("peers").iter().map(|row| {
        let roles = row.get("roles").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let roles = roles.iter().map(|role| text::clean(Some(role))).collect::<Vec<_>>().join(",");
        vec![text::clean(row.get("node")), text::clean(row.get("org")), roles]
    });
    let peers = text::table(&["PEER", "ORGANISATION", "ROLES"], peers);
    format!("{}\n\n{score}\n\n{peers}", text::fields(&Value::Object(head)))
}

/// One orderer's line: how it stands, this epoch's turns and faults, and why it is out.
fn standing(row: &Value) -> Vec<String> {
    let at = |name: &str| percent(row.get(name));
    let is = |name: &str| row.get(name).and_then(Value::as_bool) == Some(true);
    let number = |path: &str| row.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let (taken, missed) = (number("/current/turns/good"), number("/current/turns/bad"));
    let faults: u64 = ["endorsing", "committing", "ordering"]
        .into_iter()
        .flat_map(|duty| ["ended", "current"].map(|epoch| number(&format!("/{epoch}/faults/{duty}"))))
        .fold(0, u64::saturating_add);
    let below = row.get("below").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let below = below.iter().map(|duty| text::clean(Some(duty))).collect::<Vec<_>>().join(", ");
    let next = match (is("qualified_next"), below.as_str()) {
        (true, "") => "yes".to_owned(),
        (true, below) => format!("yes, though low in {below}: too few others"),
        (false, "") => "no".to_owned(),
        (false, below) => format!("no: low in {below}"),
    };
    vec![
        text::clean(row.get("org")),
        text::clean(row.get("node")).chars().take(12).collect(),
        at("endorsing"),
        at("committing"),
        at("ordering"),
        at("total"),
        format!("{taken}/{}", taken.saturating_add(missed)),
        faults.to_string(),
        if is("qualified") { "yes" } else { "no" }.to_owned(),
        next,
    ]
}

/// A standing, which is told in parts per million.
fn percent(ppm: Option<&Value>) -> String {
    match ppm.and_then(Value::as_i64) {
        Some(ppm) => {
            let sign = if ppm < 0 { "-" } else { "" };
            let ppm = ppm.unsigned_abs();
            format!("{sign}{}.{}%", ppm / 10_000, ppm / 1_000 % 10)
        }
        None => text::clean(ppm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmdl_types::id::NetworkId;

    fn told(network: NetworkId) -> Value {
        json!({
            "network": network, "name": "main", "id": "c", "height": 7, "block": "b", "state_root": "s", "epoch": 0,
            "view": 8, "primary": "n1", "qualified": ["n1"], "votes": false, "log_size": 9, "time": 1000,
            "single_org_demo": false,
            "reputation": [{
                "node": "n1", "org": "o1", "endorsing": null, "committing": 0, "ordering": -309_999, "total": 1_000_000,
                "qualified": true, "qualified_next": false, "below": ["ordering"],
                "ended": { "faults": { "endorsing": 0, "committing": 1, "ordering": 2 } },
                "current": { "turns": { "good": 3, "bad": 4 }, "faults": {} },
            }],
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
        let standing = ["o1", "n1", "-", "0.0%", "-30.9%", "100.0%", "3/7", "3", "yes", "no:", "low", "in", "ordering"];
        assert!(lines.contains(&standing.to_vec()), "{}", report.text);
        assert!(lines.contains(&vec!["n1", "o?", "orderer,committer"]), "{}", report.text);
    }

    #[test]
    fn a_gateway_of_another_network_is_not_heard() {
        let refused = report(NetworkId::new([1; 32]), &told(NetworkId::new([2; 32]))).unwrap_err();
        assert_eq!((refused.exit, refused.code.as_ref()), (Exit::Configuration, "genesis_mismatch"));
        assert!(report(NetworkId::new([1; 32]), &json!({})).is_err());
    }
}
