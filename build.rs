//! Tells the program how it was built, for `dmdl bench` to say so beside its figures.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for (name, of_cargo) in [("DMDL_BUILD_PROFILE", "PROFILE"), ("DMDL_BUILD_OPT_LEVEL", "OPT_LEVEL")] {
        let value = std::env::var(of_cargo).unwrap_or_default();
        println!("cargo::rustc-env={name}={value}");
    }
}
