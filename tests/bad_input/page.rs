//! `docs/bad-input.md` names tests and files that are there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Where tests are.
const FOLDERS: [&str; 6] = ["tests", "src", "vault/src", "audit-ledger/src", "policies", "types/src"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every function of the sources, with the name of its file.
fn functions() -> BTreeSet<(String, String)> {
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root().join(folder)).collect();
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let names = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
                found.extend(names.map(|name| (file.clone(), name.to_owned())));
            }
        }
    }
    found
}

/// Whether a name begins with one of our own folders.
fn is_path(name: &str) -> bool {
    name.split_once('/').is_some_and(|(first, _)| FOLDERS.iter().any(|folder| folder.split('/').next() == Some(first)))
}

#[test]
fn the_page_names_tests_and_files_that_are_there() {
    let page = fs::read_to_string(root().join("docs/bad-input.md")).unwrap();
    let (_, tables) = page.split_once("## Connections").unwrap();
    let functions = functions();
    let mut named = 0;
    for name in tables.split('`').skip(1).step_by(2) {
        let begins = |own: &str, name: &str| match name.strip_suffix('…') {
            Some(beginning) => own.starts_with(beginning),
            None => own == name,
        };
        let is_there = match name.split_once("::") {
            Some((file, test)) => functions.iter().any(|(of, own)| of == file && begins(own, test)),
            None if is_path(name) => root().join(name).exists(),
            None if name.matches('_').count() > 3 => functions.iter().any(|(_, own)| begins(own, name)),
            None => continue,
        };
        assert!(is_there, "the page names `{name}`, which is not there");
        named += 1;
    }
    assert!(named > 80, "only {named} are named");
}
