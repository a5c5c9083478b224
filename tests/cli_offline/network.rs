//! `dmdl network generate`, and the files that `dmdl node` runs by.

use super::harness::{assert_fails, code, json, run, said, str, text};
use dmdl::network_file::NetworkFile;
use dmdl_types::genesis::NodeRoles;
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// The four hospitals of the example.
pub(crate) fn example() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/four-hospitals.toml")).unwrap()
}

/// A folder with a spec in it, and a place for the network.
pub(crate) struct Study {
    dir: TempDir,
}

impl Study {
    pub(crate) fn new(spec: &str) -> Self {
        let study = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(study.spec(), spec).unwrap();
        study
    }

    fn spec(&self) -> PathBuf {
        self.dir.path().join("spec.toml")
    }

    pub(crate) fn network(&self) -> PathBuf {
        self.dir.path().join("network")
    }

    pub(crate) fn node(&self, name: &str) -> PathBuf {
        self.network().join("nodes").join(name)
    }

    /// Makes the network and gives what is said of it.
    pub(crate) fn generated(&self) -> Value {
        said(&["network", "generate", "--spec", str(&self.spec()), "--out", str(&self.network())])
    }

    /// Asserts that no network is made; says why.
    fn refused(&self, exit: i32, stable_code: &str) -> String {
        let (spec, out) = (self.spec(), self.network());
        assert_fails(&["network", "generate", "--spec", str(&spec), "--out", str(&out)], exit, stable_code)
    }
}

/// A text with one part of it changed.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "there is no `{from}`");
    text.replacen(from, to, 1)
}

/// The last line that begins so, counted from 1.
fn line_of(text: &str, at: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().rposition(|line| line.starts_with(at)).unwrap_or_else(|| panic!("no line begins with `{at}`")) + 1
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn every_node_gets_a_folder_with_all_that_its_host_needs_and_nothing_else() {
    let study = Study::new(&example());
    let made = study.generated();
    let network = study.network();
    assert_eq!(names(&network), ["identities", "network.toml", "nodes"]);
    assert_eq!(names(&network.join("nodes")), ["east", "north", "south", "west"]);
    assert_eq!(
        names(&network.join("identities")),
        ["admin.key", "committee.key", "officer.key", "owner.key", "researcher.key"]
    );
    assert_eq!(mode(&network), 0o700);
    let pin = fs::read(network.join("network.toml")).unwrap();
    let mut secrets = Vec::new();
    for node in made["nodes"].as_array().unwrap() {
        let folder = study.node(node["name"].as_str().unwrap());
        let files =
            ["cosigning.key", "network.toml", "node.key", "node.toml", "start-token", "tls", "vault"].map(String::from);
        assert_eq!(names(&folder), files);
        assert_eq!(mode(&folder), 0o700);
        for secret in ["cosigning.key", "node.key", "start-token", "tls/gateway-tls.pem"] {
            assert_eq!(mode(&folder.join(secret)), 0o600, "{secret}");
            secrets.push(fs::read(folder.join(secret)).unwrap());
        }
        assert_eq!(fs::read(folder.join("network.toml")).unwrap(), pin, "each has the same pin");
        let token = fs::read_to_string(folder.join("start-token")).unwrap();
        let said = format!(
            "dmdl-start-token-v1\nnetwork {}\nnode {}\n",
            made["network"].as_str().unwrap(),
            node["node"].as_str().unwrap()
        );
        assert_eq!(token, said);
        assert_eq!(Path::new(node["config"].as_str().unwrap()), folder.join("node.toml"));
    }
    let count = secrets.len();
    secrets.sort_unstable();
    secrets.dedup();
    assert_eq!(secrets.len(), count, "no two nodes share a secret");
    let pin = NetworkFile::read(&network.join("network.toml")).unwrap();
    assert_eq!(Value::from(pin.network.to_string()), made["network"]);
    assert_eq!(pin.gateways.len(), 4);
    assert!(pin.gateways.iter().all(|gateway| gateway.certificate_sha256.is_some()));
    assert_eq!((pin.genesis.people.len(), pin.genesis.channel.epoch_blocks), (5, 1000));
    let listed = said(&["custodian", "list", "--network", str(&network.join("network.toml"))]);
    assert_eq!((&listed["threshold"], listed["items"].as_array().unwrap().len()), (&Value::from(2), 4));
    let owner = said(&["id", "show", str(&network.join("identities/owner.key"))]);
    assert_eq!((&owner["org"], &owner["role"]), (&Value::from("north-hospital"), &Value::from("owner")));
}

#[test]
fn a_person_is_told_where_all_is_and_what_comes_next() {
    let study = Study::new(&example());
    let output = run(&["network", "generate", "--spec", str(&study.spec()), "--out", str(&study.network())]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let told = text(&output.stdout);
    for part in ["4 nodes", "4 organisations", "network.toml", "identities", "dmdl node --config node.toml"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let study = Study::new(&example());
    let (spec, out) = (study.spec(), study.network());
    let pin = run(&["network", "generate", "--quiet", "--spec", str(&spec), "--out", str(&out)]);
    let network = NetworkFile::read(&study.network().join("network.toml")).unwrap().network;
    assert_eq!(text(&pin.stdout), format!("{network}\n"));
}

#[test]
fn what_a_spec_leaves_out_follows_from_how_many_there_are() {
    let spec = example();
    let (_, nodes) = spec.split_once("[[node]]").unwrap();
    let hub = "[[node]]\nname = \"hub\"\norg = \"registry\"\nroles = [\"gateway\"]\naddress = \"10.0.0.5:7401\"\n\
               gateway = { listen = \"127.0.0.1:7450\", url = \"http://127.0.0.1:7450\" }\n\n";
    let study = Study::new(&format!("{hub}[[node]]{nodes}"));
    let made = study.generated();
    assert_eq!((&made["endorsements"], &made["threshold"]), (&Value::from(2), &Value::from(2)));
    let genesis = NetworkFile::read(&study.network().join("network.toml")).unwrap().genesis;
    assert_eq!((genesis.channel.name.as_str(), genesis.channel.epoch_blocks), ("main", 1000));
    assert_eq!(genesis.channel.mdca, dmdl_types::mdca::Scenario::default().config());
    let hub = genesis.members.iter().find(|member| member.org.as_str() == "registry").unwrap();
    assert_eq!(hub.roles, NodeRoles::default(), "a gateway alone does nothing on the ledger");
    let file = fs::read_to_string(study.node("hub").join("node.toml")).unwrap();
    assert!(file.contains("listen = \"10.0.0.5:7401\"") && file.contains("[gateway]"), "{file}");
    assert!(!file.contains("tls = ") && !study.node("hub").join("tls").exists(), "plain HTTP has no certificate");
}

#[test]
fn a_spec_that_describes_no_network_is_refused_with_its_line() {
    let spec = example();
    let all = "roles = [\"endorser\", \"orderer\", \"committer\", \"custodian\", \"gateway\"]";
    let west = "address = \"west:7401\"\nlisten = \"0.0.0.0:7401\"\n";
    let gateway = "gateway = { listen = \"0.0.0.0:7440\", url = \"https://localhost:7440\" }\n";
    for (from, to, at, word) in [
        ("[channel]", "colour = \"blue\"\n[channel]", "colour", "colour"),
        ("epoch_blocks = 1000", "epoch_blocks = -1", "epoch_blocks", "invalid"),
        ("scenario = \"heterogeneous-data\"", "scenario = \"war\"", "scenario", "heterogeneous-data"),
        ("name = \"north\"", "name = \"North Wing\"", "name = \"North", "name"),
        ("name = \"north\"", "name = \"../north\"", "name = \"..", "name"),
        ("name = \"south\"", "name = \"north\"", "name = \"north\"", "another node"),
        ("address = \"south:7401\"", "address = \"north:7401\"", "address = \"north", "another node"),
        ("address = \"south:7401\"", "address = \"south\"", "address = \"south\"", "HOST:PORT"),
        ("address = \"south:7401\"", "address = \"0.0.0.0:7401\"", "address = \"0", "listen"),
        (west, "address = \"west:7401\"\n", "address = \"west", "listen"),
        (west, "address = \"west:7401\"\nlisten = \"here\"\n", "listen = \"here\"", "address"),
        (west, "address = \"west:7401\"\nlisten = \"0.0.0.0:0\"\n", "listen = \"0.0.0.0:0\"", "port"),
        (
            west,
            "address = \"west:7401\"\nlisten = \"0.0.0.0:7440\"\n",
            "gateway = { listen = \"0.0.0.0:7440\"",
            "one address",
        ),
        (all, "roles = []", "roles = []", "at least one"),
        (all, "roles = [\"auditor\"]", "roles = [\"auditor\"]", "auditor"),
        (all, "roles = [\"orderer\", \"custodian\", \"gateway\"]", "roles = [\"orderer\"", "committer"),
        (all, "roles = [\"orderer\"]", "gateway = { listen = \"0.0.0.0:7410\"", "no role"),
        (gateway, "", all, "needs"),
        (
            "https://localhost:7440",
            "https://localhost:7410",
            "gateway = { listen = \"0.0.0.0:7440\"",
            "another gateway",
        ),
        ("https://localhost:7440", "https://localhost:7440/x", "gateway = { listen = \"0.0.0.0:7440\"", "path"),
        ("https://localhost:7440", "http://localhost:7440", "gateway = { listen = \"0.0.0.0:7440\"", "https"),
        ("https://localhost:7440", "ftp://localhost:7440", "gateway = { listen = \"0.0.0.0:7440\"", "https"),
        ("https://localhost:7440", "localhost", "gateway = { listen = \"0.0.0.0:7440\"", "https"),
        ("name = \"researcher\"", "name = \"owner\"", "name = \"owner\"", "another person"),
        ("role = \"officer\"", "role = \"root\"", "role = \"root\"", "root"),
        ("role = \"officer\"", "role = \"officer\"\nrole = \"admin\"", "role = \"admin\"\nrole", "duplicate"),
    ] {
        let spec = changed(&spec, from, to);
        let study = Study::new(&spec);
        let detail = study.refused(7, "bad_spec");
        // A key that comes twice is told at the second one.
        let line = match at.split_once('\n') {
            Some((at, _)) => spec.lines().position(|line| line.starts_with(at)).unwrap() + 1,
            None => line_of(&spec, at),
        };
        assert!(detail.contains(&format!("spec.toml:{line}: ")), "line {line} of `{to}`: {detail}");
        assert!(detail.contains(word), "`{to}`: {detail}");
        assert_eq!(names(study.dir.path()), ["spec.toml"], "nothing is left of it");
    }
}

#[test]
fn a_network_that_could_not_be_trusted_is_refused() {
    let spec = example();
    let (three, one) =
        ("roles = [\"endorser\", \"committer\", \"custodian\", \"gateway\"]", "org = \"north-hospital\"");
    let all = "roles = [\"endorser\", \"orderer\", \"committer\", \"custodian\", \"gateway\"]";
    for (from, to, word) in [
        (all, three, "3 orderers"),
        ("org = \"south-hospital\"", one, "placement"),
        ("endorsements = 2", "endorsements = 1", "endorsements"),
        ("endorsements = 2", "endorsements = 5", "endorsements"),
        ("custody_threshold = 2", "custody_threshold = 1", "custody_threshold"),
        ("epoch_blocks = 1000", "epoch_blocks = 1", "epoch_blocks"),
    ] {
        let study = Study::new(&changed(&spec, from, to));
        let detail = study.refused(7, "bad_spec");
        assert!(detail.contains(word) && detail.contains("spec.toml"), "{detail}");
        assert_eq!(names(study.dir.path()), ["spec.toml"], "nothing is left of it");
    }
    let demo = changed(&spec, "org = \"south-hospital\"", one);
    Study::new(&changed(&demo, "[channel]", "[channel]\nsingle_org_demo = true")).generated();
}

#[test]
fn a_spec_that_cannot_be_read_and_a_folder_that_is_taken_are_told() {
    let study = Study::new(&example());
    fs::create_dir(study.network()).unwrap();
    fs::write(study.network().join("mine"), "mine").unwrap();
    study.refused(2, "exists");
    assert_eq!(names(&study.network()), ["mine"]);
    let out = str(&study.network()).to_owned() + "2";
    for spec in ["/dev/zero", "/no/such/spec.toml", str(study.dir.path())] {
        assert_fails(&["network", "generate", "--spec", spec, "--out", &out], 7, "bad_spec");
    }
    let large = Study::new(&"#".repeat(2 << 20));
    assert!(large.refused(7, "bad_spec").contains("longer"));
    // An empty folder is as good as none.
    let empty = Study::new(&example());
    fs::create_dir(empty.network()).unwrap();
    empty.generated();
}

#[test]
fn a_node_whose_file_is_wrong_does_not_start_and_says_in_which_line() {
    let study = Study::new(&example());
    study.generated();
    let folder = study.node("north");
    let file = fs::read_to_string(folder.join("node.toml")).unwrap();
    let own = |path: &str| fs::read_to_string(folder.join(path)).unwrap();
    let token = own("start-token");
    let me = token.lines().last().unwrap().strip_prefix("node ").unwrap();
    let (alone, _) = file.split_once("[[peer]]\n").unwrap();
    let (_, last) = file.rsplit_once("[[peer]]\n").unwrap();
    let peer = last.lines().next().unwrap();
    let (myself, no_key) = (format!("node = \"{me}\""), format!("node = \"01{}\"", "00".repeat(31)));
    fs::write(folder.join("other.key"), format!("{}\n", "01".repeat(32))).unwrap();
    fs::set_permissions(folder.join("other.key"), fs::Permissions::from_mode(0o600)).unwrap();
    for (text, at, word) in [
        (format!("colour = 1\n{file}"), "colour", "colour"),
        (changed(&file, "vault = \"vault\"", "vault = 7"), "vault", "invalid type"),
        (changed(&file, "vault = \"vault\"", "vault = \"data\""), "vault", "two folders"),
        (changed(&file, "\"cosigning.key\"", "\"other.key\""), "cosigning_key", "another cosigning key"),
        (changed(&file, "listen = \"0.0.0.0:7401\"", "listen = \"0.0.0.0\""), "listen = \"0.0.0.0\"", "address"),
        (changed(&file, "listen = \"0.0.0.0:7410\"", "listen = \"0.0.0.0:7401\""), "[gateway]", "one address"),
        (changed(&file, "tls = \"tls\"\n", ""), "[gateway]", "loopback"),
        (changed(&file, "uploads = \"uploads\"\n", "uploads = \"uploads\"\nport = 1\n"), "port", "port"),
        (alone.to_owned(), "listen = \"0.0.0.0:7401\"", "list every one"),
        (format!("{file}\n[[peer]]\n{last}"), peer, "twice"),
        (changed(&file, peer, &no_key), no_key.as_str(), "no key"),
        (
            changed(&file, "address = \"south:7401\"", "address = \"west:7401\""),
            "address = \"west:7401\"",
            "another peer",
        ),
        (changed(&file, peer, &myself), myself.as_str(), "the node itself"),
        (changed(&file, peer, "node = \"north\""), "node = \"north\"", "hex"),
        (changed(&file, "address = \"south:7401\"", "address = \"south\""), "address = \"south\"", "HOST:PORT"),
    ] {
        let path = folder.join("changed.toml");
        fs::write(&path, &text).unwrap();
        let detail = assert_fails(&["node", "--config", str(&path)], 7, "bad_config");
        assert!(detail.contains(&format!("changed.toml:{}: ", line_of(&text, at))), "{at}: {detail}");
        assert!(detail.contains(word), "{word}: {detail}");
    }
    assert_eq!(own("start-token"), token, "the token is kept");
    assert!(!folder.join("data").exists());
}

#[test]
fn a_node_whose_secrets_are_not_safe_or_not_there_does_not_start() {
    let study = Study::new(&example());
    study.generated();
    let folder = study.node("east");
    let node = ["node", "--config", str(&folder.join("node.toml"))].map(str::to_owned);
    let node: Vec<&str> = node.iter().map(String::as_str).collect();
    for secret in ["node.key", "cosigning.key"] {
        let path = folder.join(secret);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(assert_fails(&node, 7, "key_permissions").contains(secret));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&path, folder.join("away")).unwrap();
        assert!(assert_fails(&node, 7, "bad_config").contains(secret));
        fs::rename(folder.join("away"), &path).unwrap();
    }
    let pin = fs::read_to_string(folder.join("network.toml")).unwrap();
    fs::write(folder.join("network.toml"), changed(&pin, "version = 1", "version = 2")).unwrap();
    assert_fails(&node, 7, "bad_config");
    assert_fails(&["node", "--config", str(&folder.join("none.toml"))], 7, "bad_config");
    assert_fails(&["node"], 2, "usage");
    assert_eq!(json(&run(&[&node[..], &["--json"]].concat()))["error"]["exit"], 7);
}

/// The folder of a fifth node, and what is said of it.
fn fifth(study: &Study, more: &[&str]) -> (PathBuf, Value) {
    let (pin, out, peers) =
        (study.network().join("network.toml"), study.network().join("fifth"), study.node("north").join("node.toml"));
    let args =
        ["--network", str(&pin), "network", "node", "--out", str(&out), "--org", "fifth", "--peers", str(&peers)];
    let made = said(&[&args[..], more].concat());
    (out, made)
}

#[test]
fn a_node_that_joins_gets_a_folder_like_the_others_and_lines_for_an_admin() {
    let study = Study::new(&example());
    study.generated();
    let north = "ca".repeat(32);
    let peer = format!("{north}=north:7401");
    let gateway = ["--gateway-url", "https://fifth.example:7450", "--gateway-listen", "0.0.0.0:7450"];
    let more =
        [&["--listen", "10.0.0.5:7401", "--address", "fifth.example:7401", "--peer", &peer][..], &gateway].concat();
    let (folder, made) = fifth(&study, &more);
    let files =
        ["cosigning.key", "network.toml", "node.key", "node.toml", "start-token", "tls", "vault"].map(String::from);
    assert_eq!((names(&folder), mode(&folder)), (files.to_vec(), 0o700));
    for secret in ["cosigning.key", "node.key", "start-token", "tls/gateway-tls.pem"] {
        assert_eq!(mode(&folder.join(secret)), 0o600, "{secret}");
    }
    let pin = NetworkFile::read(&study.network().join("network.toml")).unwrap();
    let node = made["node"].as_str().unwrap();
    let token = fs::read_to_string(folder.join("start-token")).unwrap();
    assert_eq!(token, format!("dmdl-start-token-v1\nnetwork {}\nnode {node}\n", pin.network));
    let own = NetworkFile::read(&folder.join("network.toml")).unwrap();
    assert_eq!((own.network, own.gateways.len()), (pin.network, pin.gateways.len() + 1));
    let file = fs::read_to_string(folder.join("node.toml")).unwrap();
    assert_eq!((file.matches("[[peer]]").count(), &made["peers"]), (4, &Value::from(4)), "north's three, and north");
    assert!(file.contains(&format!("node = \"{north}\"\naddress = \"north:7401\"")), "{file}");
    let change = made["changes"].as_str().unwrap();
    for line in [
        "[change.add-node]",
        &format!("node = \"{node}\""),
        &format!("cosigning_key = \"{}\"", made["cosigning_key"].as_str().unwrap()),
        "org = \"fifth\"",
        "roles = [\"endorser\", \"orderer\", \"committer\", \"custodian\"]",
        "address = \"fifth.example:7401\"",
    ] {
        assert!(change.lines().any(|at| at == line), "{line}: {change}");
    }
}

#[test]
fn a_node_that_nobody_could_reach_or_that_could_reach_nobody_is_not_made() {
    let study = Study::new(&example());
    study.generated();
    let (pin, out) = (study.network().join("network.toml"), study.network().join("fifth"));
    let peers = study.node("north").join("node.toml");
    let begin = ["--network", str(&pin), "network", "node", "--out", str(&out), "--org", "fifth"];
    let (peers, listen) = (["--peers", str(&peers)], ["--listen", "10.0.0.5:7401"]);
    for (more, word) in [
        (vec!["--listen", "10.0.0.5:7401"], "--peer"),
        ([&peers[..], &["--listen", "0.0.0.0:7401"]].concat(), "--address"),
        ([&peers[..], &["--listen", "10.0.0.5:0"]].concat(), "port"),
        ([&peers[..], &listen, &["--roles", "custodian"]].concat(), "committer"),
        ([&peers[..], &listen, &["--roles", "gateway"]].concat(), "gateway"),
        ([&listen[..], &["--peer", "north:7401"]].concat(), "NODE=HOST:PORT"),
        ([&peers[..], &listen, &["--gateway-url", "https://a.example:1"]].concat(), "required"),
        (
            [&peers[..], &listen, &["--gateway-url", "http://a.example:1", "--gateway-listen", "0.0.0.0:1"]].concat(),
            "https",
        ),
    ] {
        let detail = assert_fails(&[&begin[..], &more].concat(), 2, "usage");
        assert!(detail.contains(word), "{more:?}: {detail}");
        assert!(!out.exists());
    }
    assert_fails(&[&begin[2..], &peers, &listen].concat(), 7, "no_pin");
    let none = study.network().join("none.toml");
    assert_fails(&[&begin[..], &listen, &["--peers", str(&none)]].concat(), 7, "bad_config");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine"), "mine").unwrap();
    assert_fails(&[&begin[..], &peers, &listen].concat(), 2, "exists");
}
