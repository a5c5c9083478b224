//! What is packaged, against the program that it runs.

use super::{
    harness::{assert_error, code, run},
    network::{Study, example},
};
use dmdl::exit::Exit;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

fn packaged(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)).unwrap()
}

/// The settings of the unit, by section.
fn unit() -> BTreeMap<String, Vec<(String, String)>> {
    let mut sections: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut section = String::new();
    for line in packaged("dmdl-node@.service").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else {
            let (name, value) = line.split_once('=').unwrap();
            sections.entry(section.clone()).or_default().push((name.to_owned(), value.to_owned()));
        }
    }
    sections
}

/// The one value of a setting of the service.
fn service(name: &str) -> String {
    let unit = unit();
    let mut values = unit["Service"].iter().filter(|(own, _)| own == name).map(|(_, value)| value.clone());
    let value = values.next().unwrap_or_else(|| panic!("the unit has no {name}"));
    assert_eq!(values.next(), None, "{name} is there once");
    value
}

#[test]
fn the_unit_leaves_a_node_nothing_that_it_does_not_need() {
    for (name, value) in [
        ("User", "dmdl"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
        ("LimitCORE", "0"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("AmbientCapabilities", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("ProtectProc", "invisible"),
        ("ProtectClock", "yes"),
        ("ProtectHostname", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectControlGroups", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("DevicePolicy", "closed"),
        ("MemoryDenyWriteExecute", "yes"),
        ("LockPersonality", "yes"),
        ("RemoveIPC", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("RestrictNamespaces", "yes"),
        ("RestrictRealtime", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("SystemCallArchitectures", "native"),
        ("SystemCallFilter", "@system-service"),
    ] {
        assert_eq!(service(name), value, "{name}");
    }
    // A gateway takes half of the files, and leaves the rest to the stores.
    assert!(service("LimitNOFILE").parse::<u64>().unwrap() >= 4096);
}

#[test]
fn the_unit_runs_a_command_of_the_program_in_the_folder_that_it_may_write() {
    let start = service("ExecStart").replace("%i", "north");
    let words: Vec<&str> = start.split(' ').collect();
    assert_eq!(words[0], "/usr/local/bin/dmdl");
    let state = format!("/var/lib/{}/", service("StateDirectory").replace("%i", "north"));
    assert!(words.last().unwrap().starts_with(&state), "{words:?}");
    // The program understands it, and finds no such file here.
    assert_error(&run(&[&words[1..], &["--json"]].concat()), Exit::Configuration as i32, "bad_config");
}

#[test]
fn the_unit_starts_again_what_waiting_may_mend_and_nothing_else() {
    assert_eq!(service("Restart"), "on-failure");
    let prevented = service("RestartPreventExitStatus");
    let prevented: BTreeSet<i32> = prevented.split(' ').map(|code| code.parse().unwrap()).collect();
    let by_hand = [Exit::Usage, Exit::Configuration, Exit::Storage].map(|exit| exit as i32);
    assert_eq!(prevented, BTreeSet::from(by_hand));
    assert_eq!(service("KillSignal"), "SIGTERM");
}

/// What the compose file says of each service, by the name of the setting.
fn services() -> BTreeMap<String, BTreeMap<String, String>> {
    let compose = packaged("compose.yaml");
    let (_, text) = compose.split_once("\nservices:\n").unwrap();
    let mut services: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(setting) => {
                let (key, value) = setting.split_once(": ").unwrap();
                services.entry(name.clone()).or_default().insert(key.to_owned(), value.to_owned());
            }
            None => line.trim().trim_end_matches(':').clone_into(&mut name),
        }
    }
    services
}

#[test]
fn the_containers_are_the_nodes_of_the_example() {
    let study = Study::new(&example());
    let made = study.generated();
    let services = services();
    let nodes = made["nodes"].as_array().unwrap();
    assert_eq!(services.len(), nodes.len());
    for node in nodes {
        let name = node["name"].as_str().unwrap();
        let service = &services[name];
        let roles: Vec<&str> = node["roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap()).collect();
        assert_eq!(service["labels"], format!("{{ dmdl.roles: \"{}\" }}", roles.join(" ")));
        assert_eq!(
            service["volumes"],
            format!("[\"./network/nodes/{name}:/node\", \"./network/vault:/node/vault\"]"),
            "its own folder, and the vault that all share"
        );
        let file: toml::Table =
            toml::from_str(&fs::read_to_string(study.node(name).join("node.toml")).unwrap()).unwrap();
        assert_eq!((file["data"].as_str(), file["vault"].as_str()), (Some("data"), Some("vault")));
        assert_eq!(file["listen"].as_str(), Some("0.0.0.0:7401"));
        let (_, port) = file["gateway"]["listen"].as_str().unwrap().split_once(':').unwrap();
        assert_eq!(service["ports"], format!("[\"127.0.0.1:{port}:{port}\"]"));
        let mut others: Vec<&str> =
            file["peer"].as_array().unwrap().iter().map(|peer| peer["address"].as_str().unwrap()).collect();
        others.push(name);
        let mut hosts: Vec<&str> = others.iter().map(|address| address.trim_end_matches(":7401")).collect();
        hosts.sort_unstable();
        assert!(hosts.iter().eq(services.keys()), "nodes find each other by the names of the containers: {hosts:?}");
    }
}

#[test]
fn the_containers_run_a_command_of_the_program() {
    let compose = packaged("compose.yaml");
    let command = compose.lines().find_map(|line| line.strip_prefix("  command: ")).unwrap();
    let words: Vec<String> = serde_json::from_str(command).unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).chain(["--json"]).collect();
    assert_error(&run(&words), Exit::Configuration as i32, "bad_config");
    let container = packaged("Containerfile");
    let entry = container.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).unwrap();
    assert_eq!(serde_json::from_str::<Vec<String>>(entry).unwrap(), ["/usr/local/bin/dmdl"]);
    let pinned = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("rust-toolchain.toml")).unwrap();
    let built = container.lines().find_map(|line| line.strip_prefix("FROM docker.io/library/rust:")).unwrap();
    let (version, _) = built.split_once('-').unwrap();
    assert!(pinned.contains(&format!("channel = \"{version}.")), "the container builds with another compiler");
    assert_eq!(code(&run(&["node", "--help"])), 0);
}
