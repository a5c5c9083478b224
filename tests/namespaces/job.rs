//! The main job, on one channel: records go in and come out for those who may, and the trail tells of it.

use super::{
    canaries::Canaries,
    hospitals::{Channel, Hospitals, NOWHERE},
};
use crate::harness::{code, json, str};
use dmdl_policies::templates::Template;
use serde_json::Value;
use std::{fs, path::PathBuf};

/// What there is to do on a channel.
pub(crate) struct Job<'a> {
    hospitals: &'a Hospitals,
    channel: &'a mut Channel,
    /// What people alone may read, whatever channel they are on.
    secrets: &'a mut Canaries,
}

/// A record, and what is in it.
struct Record {
    id: String,
    content: Vec<u8>,
}

impl<'a> Job<'a> {
    /// Does all of it, and adds what becomes known meanwhile.
    pub(crate) fn run(hospitals: &'a Hospitals, channel: &'a mut Channel, secrets: &'a mut Canaries) {
        let mut job = Job { hospitals, channel, secrets };
        for part in [Self::a_policy_decides, Self::people_decide, Self::the_trail_verifies] {
            part(&mut job);
            // Soon, because memory that is given back is used again.
            hospitals.check_outsiders(job.channel);
        }
    }

    fn a_policy_decides(&mut self) {
        let rules = self.folder().join("rules.cedar");
        let word = self.channel.canaries.add_word("a policy");
        fs::write(&rules, format!("// {word}\n{}", Template::ResearchAuto.rules())).unwrap();
        let record = self.register("decided by a policy", &["--policy", str(&rules)]);

        let reason = self.secrets.add_word("a reason");
        let ask = ["access", "request", &record.id, "--purpose", "POA", "--reason", &reason];
        let refused = self.hospitals.denied(self.channel.person("researcher"), &ask);
        self.channel.canaries.add_id("a denied request", &refused["request"]);
        assert_eq!(refused["decision"], "deny", "{refused}");
        assert_eq!(refused["reasons"][0]["code"], "purpose_not_permitted", "{refused}");

        let asked = self.request(&record);
        assert_eq!(asked["decision"], "allow", "{asked}");
        assert_eq!(self.open(&record), record.content);

        let grant = self.channel.canaries.add_id("a grant", &asked["grant"]);
        self.hospitals.ok(self.channel.person("owner"), &["access", "revoke", &grant]);
        let out = self.folder().join("never");
        let open = ["access", "open", &record.id, "--out", str(&out)];
        let refused = self.hospitals.denied(self.channel.person("researcher"), &open);
        assert!(refused["error"]["detail"].as_str().unwrap().contains("grant_revoked"), "{refused}");
        assert!(!out.exists());
    }

    fn people_decide(&mut self) {
        let record = self.register("decided by people", &[]);
        let asked = self.request(&record);
        assert_eq!(asked["decision"], "pending", "{asked}");
        let (request, comment) = (asked["request"].as_str().unwrap(), self.secrets.add_word("a comment"));
        let approve = ["access", "approve", request, "--comment", &comment];
        let approved = self.hospitals.ok(self.channel.person("committee"), &approve);
        assert_eq!(approved["state"], "ALLOWED", "{approved}");
        assert_eq!(self.open(&record), record.content);
    }

    fn the_trail_verifies(&mut self) {
        let (officer, bundle) = (self.channel.person("officer"), self.folder().join("trail.bundle"));
        let exported = self.hospitals.ok(officer, &["audit", "export", "--out", str(&bundle)]);
        // Where no network is, which nobody can ask either.
        let verify = |file| self.hospitals.run_from(NOWHERE, officer, &["audit", "verify", str(file)]);
        let verified = json(&verify(&bundle));
        assert_eq!((&verified["valid"], &verified["events"]), (&true.into(), &exported["events"]), "{verified}");
        let mut bytes = fs::read(&bundle).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let changed = self.folder().join("changed.bundle");
        fs::write(&changed, bytes).unwrap();
        assert_eq!(code(&verify(&changed)), 5);
    }

    /// Registers a record of the owner's, every part of which can be told from all others.
    fn register(&mut self, what: &str, more: &[&str]) -> Record {
        let (canaries, secrets) = (&mut self.channel.canaries, &mut *self.secrets);
        let content = format!("{}\n", secrets.add_word("a plaintext")).repeat(1000).into_bytes();
        let (title, subject) = (canaries.add_word("a title"), secrets.add_word("a pseudonym"));
        let media = format!("application/x-{}", canaries.add_word("a media type"));
        let file = self.folder().join(what);
        fs::write(&file, &content).unwrap();
        let register = ["record", "register", str(&file), "--title", &title, "--subject", &subject, "--type", &media];
        let owner = self.channel.person("owner");
        let said = self.hospitals.ok(owner, &[&register[..], more].concat());
        assert_eq!((&said["state"], &said["title"]), (&"ACTIVE".into(), &title.into()), "{said}");
        let id = said["record"].as_str().unwrap().to_owned();
        let shown = self.hospitals.ok(owner, &["record", "show", &id]);
        let canaries = &mut self.channel.canaries;
        for (what, shown) in [
            ("a record", &said["record"]),
            ("a registration", &said["transaction"]),
            ("a payload", &said["payload"]),
            ("a subject", &shown["subject"]),
        ] {
            canaries.add_id(what, shown);
        }
        Record { id, content }
    }

    /// Asks for a record as the policy permits it.
    fn request(&mut self, record: &Record) -> Value {
        let reason = self.secrets.add_word("a reason");
        let ask = ["access", "request", &record.id, "--purpose", "HMB", "--uses", "5", "--reason", &reason];
        let asked = self.hospitals.ok(self.channel.person("researcher"), &ask);
        self.channel.canaries.add_id("a request", &asked["request"]);
        asked
    }

    /// Opens a record as the researcher.
    fn open(&mut self, record: &Record) -> Vec<u8> {
        let out = self.folder().join(format!("opened-{}", record.id));
        let open = ["access", "open", &record.id, "--out", str(&out)];
        let opened = self.hospitals.ok(self.channel.person("researcher"), &open);
        self.channel.canaries.add_id("an opening", &opened["transaction"]);
        assert!(opened["custodians"].as_array().unwrap().len() >= 2, "{opened}");
        fs::read(out).unwrap()
    }

    /// Where the channel's people keep their files.
    fn folder(&self) -> PathBuf {
        self.channel.folder.clone()
    }
}
