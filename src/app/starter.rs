//! The configuration that `keystead init` writes when there is none.

use crate::base::random;
use crate::model::InstanceId;

/// A software instance on this machine alone; the hardware one is there to be filled in.
pub(super) fn configuration() -> String {
    let [software, hardware] = [(); 2].map(|()| InstanceId::from_entropy(random::bytes()));
    format!(
        r#"# The configuration of Keystead. Relative paths are relative to this file's folder. The README explains every field.

data_dir = "data"
root_key_file = "root.key"      # keep a copy of it elsewhere: without it the database cannot be read

[shared]                        # the shared gateway: the OpenAPI, for operators and Terraform
listen = "127.0.0.1:9443"
default_instances = ["{software}"]

[sts]                           # temporary credentials: AssumeRole
listen = "127.0.0.1:9447"

[telemetry]                     # /livez, /readyz, /slots, /metrics without TLS
listen = "127.0.0.1:9464"

[[instance]]
id = "{software}"
name = "software"
kind = "Software"
listen = "127.0.0.1:9444"
# names = ["kms.example.com"]   # more names and addresses for its certificate

# [[instance]]                  # name it in default_instances, too, for keys of the ProtectionLevel HSM
# id = "{hardware}"
# name = "hsm"
# kind = "Hardware"
# listen = "127.0.0.1:9445"
# [instance.slot]
# module = "/usr/lib/softhsm/libsofthsm2.so"
# uri = "pkcs11:token=keystead"
# pin_file = "pin.txt"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn it_parses_with_and_without_the_hardware_part() {
        let text = configuration();
        let folder = std::path::Path::new("/");
        assert_eq!(Config::parse(&text, folder).unwrap().instances.len(), 1);
        let (before, hardware) = text.split_once("# [[instance]]").unwrap();
        let filled = format!("{before}[[instance]]{}", hardware.replace("\n# ", "\n"));
        assert_eq!(Config::parse(&filled, folder).unwrap().instances.len(), 2);
    }
}
