//! Has the kernel linked to the address at which Xen loads it.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/link.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    // Programs of this target are relocated by their loader; Xen loads a kernel to where it says.
    println!("cargo:rustc-link-arg-bins=--no-pie");
}
