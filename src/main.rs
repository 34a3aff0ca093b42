//! The program `keystead`.

fn main() {}
