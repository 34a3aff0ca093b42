//! The program `keystead`: see `keystead --help`.

fn main() {
    keystead::app::main()
}
