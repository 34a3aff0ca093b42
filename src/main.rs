//! The program `keystead`: see `keystead --help`.

fn main() -> std::process::ExitCode {
    keystead::app::main()
}
