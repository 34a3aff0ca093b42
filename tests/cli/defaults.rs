//! `default_instances`: where keys go for which no instance is named, and what is said of its older form.

use serde_json::Value;

use crate::installation::{Installation, text};

/// Where a key was made.
fn home(made: &Value) -> (&str, &str) {
    let text = |name: &str| made["KeyMetadata"][name].as_str().unwrap();
    (text("DKMSInstanceId"), text("ProtectionLevel"))
}

/// As Terraform asks: SOFTWARE where its user says nothing, and what is read back must be the same.
#[test]
fn a_level_finds_its_instance_or_hears_which_to_name() {
    let installation = Installation::new();
    let (hardware, software) = (installation.hardware.as_str(), installation.software.as_str());
    let create = |more: &[&str]| installation.api(&[&["CreateKey"], more].concat());
    let server = installation.serve();
    for (level, expected) in [("HSM", (hardware, "HSM")), ("SOFTWARE", (software, "SOFTWARE"))] {
        let made = create(&["--ProtectionLevel", level]).unwrap();
        assert_eq!(home(&made), expected);
        let id = made["KeyMetadata"]["KeyId"].as_str().unwrap();
        assert_eq!(home(&installation.api(&["DescribeKey", "--KeyId", id]).unwrap()), expected);
    }
    let refused = create(&["--ProtectionLevel", "SOFTWARE", "--DKMSInstanceId", hardware]).unwrap_err();
    assert_eq!(refused["Code"], "Unsupported.ProtectionLevel", "{refused}");
    assert!(server.end().0);

    let defaults = format!("default_instances = [\"{hardware}\", \"{software}\"]");
    installation.configure(|text| text.replace(&defaults, &format!("default_instances = [\"{hardware}\"]")));
    let server = installation.serve();
    let refused = create(&["--ProtectionLevel", "SOFTWARE"]).unwrap_err();
    assert_eq!(refused["Code"], "Unsupported.ProtectionLevel", "{refused}");
    let said = refused["Message"].as_str().unwrap();
    assert!(said.contains(software) && said.contains("DKMSInstanceId") && said.contains("say the ProtectionLevel HSM"), "{said}");
    assert_eq!(home(&create(&[]).unwrap()), (hardware, "HSM"));
    assert!(server.end().0);

    installation.configure(|text| text.replace(&defaults, ""));
    let server = installation.serve();
    for more in [&[][..], &["--ProtectionLevel", "HSM"]] {
        let refused = create(more).unwrap_err();
        assert_eq!(refused["Code"], "MissingParameter", "{refused}");
        assert!(refused["Message"].as_str().unwrap().contains("DKMSInstanceId"), "{refused}");
    }
    assert!(server.end().0);
}

#[test]
fn the_older_form_is_remarked_on_and_both_are_refused() {
    let installation = Installation::new();
    let checked = text(&installation.run(&["check-config"]));
    assert!(!checked.contains("remark"), "{checked}");
    let software = installation.software.as_str();
    let list = format!("default_instances = [\"{}\", \"{software}\"]", installation.hardware);
    let older = format!("default_instance = \"{software}\"");
    installation.configure(|text| text.replace(&list, &older));
    let checked = installation.run(&["check-config"]);
    assert!(checked.status.success(), "{}", text(&checked));
    let remark = format!("default_instances = [\"{software}\"]");
    assert!(text(&checked).lines().any(|line| line.starts_with("remark:") && line.contains(&remark)), "{}", text(&checked));
    let server = installation.serve();
    let made = installation.api(&["CreateKey"]).unwrap();
    assert_eq!(home(&made), (software, "SOFTWARE"));
    let default = installation.api(&["GetDefaultKmsInstance"]).unwrap();
    assert_eq!(default["DefaultKmsInstanceId"], software);
    assert!(server.end().0);
    installation.configure(|text| text.replace(&list, &format!("{list}\n{older}")));
    let line = installation.refusal(&["check-config"]);
    assert!(line.contains("default_instances and default_instance"), "{line}");
}
