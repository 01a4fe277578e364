//! Has the kernel linked as Xen loads it.

use std::env;

fn main() {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo names the architecture");
    let script = format!("{}/src/arch/{arch}/link.ld", env!("CARGO_MANIFEST_DIR"));
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    let arguments: &[&str] = match arch.as_str() {
        // Programs of this target are relocated by their loader; Xen loads a kernel to where it says.
        "x86_64" => &["--no-pie"],
        // Linux' format is the memory's content and no ELF file. It may be loaded anywhere, so it relocates itself.
        "aarch64" => &["--pie", "-znotext", "--no-dynamic-linker", "--oformat=binary"],
        other => panic!("beep does not know how a kernel starts on {other}"),
    };
    for argument in arguments {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
