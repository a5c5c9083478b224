use super::*;
use dmdl_types::{
    genesis::Role,
    id::{ChannelName, DisplayName},
    mdca::ONE_PPM,
};

fn read(text: &str) -> Result<ChangesFile, TextFileError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("changes.toml");
    std::fs::write(&path, text).unwrap();
    ChangesFile::read(&path)
}

fn rules() -> ChannelConfig {
    ChannelConfig {
        name: ChannelName::new("main").unwrap(),
        epoch_blocks: 1000,
        endorsements: 2,
        custody_threshold: 3,
        policy_engine: 1,
        mdca: MdcaConfig::default(),
    }
}

fn hex(byte: &str) -> String {
    byte.repeat(32)
}

#[test]
fn every_kind_of_change_is_read_in_its_order() {
    let (node, key, gone) = (hex("01"), hex("02"), hex("03"));
    let text = format!(
        r#"
[[change]]
add-node = {{ node = "{node}", cosigning_key = "{key}", org = "east", address = "east.example:7401" }}

[[change]]
set-roles = {{ node = "{node}", roles = ["committer", "custodian"] }}

[[change]]
remove-node = "{gone}"

[[change]]
add-person = {{ key = "{key}", org = "east", name = "admin", role = "admin" }}

[[change]]
remove-org = "west"

[[change]]
prune-blocks = {{}}
"#
    );
    let (node, gone): (NodeId, NodeId) = (node.parse().unwrap(), gone.parse().unwrap());
    let (key, org): (PublicKey, OrgId) = (key.parse().unwrap(), "east".parse().unwrap());
    let member = Member { node, cosigning_key: key, org: org.clone(), roles: NodeRoles::ALL };
    let roles = NodeRoles { committer: true, custodian: true, ..NodeRoles::default() };
    let person = Person { key, org, name: DisplayName::new("admin").unwrap(), role: Role::Admin };
    assert_eq!(
        read(&text).unwrap().upon(&rules()),
        [
            Change::AddNode { member, address: "east.example:7401".to_owned() },
            Change::SetRoles { node, roles },
            Change::RemoveNode { node: gone },
            Change::AddPerson { person },
            Change::RemoveOrg { org: "west".parse().unwrap() },
            Change::PruneBlocks,
        ]
    );
}

#[test]
fn rules_that_are_not_named_stay_as_they_are() {
    let text = "[[change]]\nset-rules = { endorsements = 3 }\n\n\
                [[change]]\n[change.set-rules]\nscenario = \"copyright-protection\"\nmdca = { decay = 0 }\n";
    let first = ChannelConfig { endorsements: 3, ..rules() };
    let mdca = MdcaConfig { decay: 0, ..Scenario::CopyrightProtection.config() };
    let second = ChannelConfig { mdca, ..first.clone() };
    assert!(mdca.trust.ordering < ONE_PPM && mdca != first.mdca);
    let changes = [first, second].map(|rules| Change::SetRules { rules });
    assert_eq!(read(text).unwrap().upon(&rules()), changes, "the second is made to what the first one leaves");
}

#[test]
fn what_makes_no_sense_is_refused_by_its_line() {
    let node = hex("01");
    let roles = |roles: &str| format!("\n[[change]]\nset-roles = {{ node = \"{node}\", roles = [{roles}] }}\n");
    for (text, line, word) in [
        (String::new(), 1, "no change"),
        ("colour = 1\n".to_owned(), 1, "colour"),
        ("\n[[change]]\npaint-node = 1\n".to_owned(), 3, "paint-node"),
        ("\n[[change]]\n[change.set-rules]\nendorsements = 2\ncolour = 1\n".to_owned(), 5, "colour"),
        ("\n[[change]]\n[change.set-rules.mdca]\ndecay = \"slow\"\n".to_owned(), 4, "string"),
        ("\n[[change]]\nset-rules = { name = \"other\" }\n".to_owned(), 3, "name"),
        ("\n[[change]]\nset-rules = {}\n".to_owned(), 2, "no rule"),
        ("\n[[change]]\nprune-blocks = { after = 3 }\n".to_owned(), 3, "after"),
        ("\n[[change]]\nremove-node = \"north\"\n".to_owned(), 2, ""),
        ("\n[[change]]\nremove-org = \"a\"\nremove-node = \"b\"\n".to_owned(), 2, "1 element"),
        ("\n[[change]]\n".to_owned(), 2, "1 element"),
        (roles("\"gateway\""), 2, "no role in a channel"),
        (roles(""), 2, "at least one role"),
        (roles("\"king\""), 3, "king"),
    ] {
        let told = read(&text).unwrap_err().to_string();
        assert!(told.contains(&format!("changes.toml:{line}: ")) && told.contains(word), "{text:?}: {told}");
    }
}
