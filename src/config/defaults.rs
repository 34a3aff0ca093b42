//! `default_instances` of `[shared]`: where keys are made for which no instance is named.

use super::{Instance, wrong};
use crate::base::Result;
use crate::model::InstanceId;
use crate::model::instance::{DefaultInstances, InstanceKind};

/// Reads the list, or the one instance of the older form, of which a remark is made.
pub(super) fn default_instances(
    list: Option<Vec<String>>,
    one: Option<String>,
    instances: &[Instance],
    remarks: &mut Vec<String>,
) -> Result<DefaultInstances> {
    let ids = match (list, one) {
        (None, None) => Vec::new(),
        (Some(list), None) => list,
        (None, Some(one)) => {
            remarks.push(format!("default_instance of [shared] is the older form of default_instances = [\"{one}\"]"));
            vec![one]
        }
        (Some(_), Some(_)) => {
            return Err(wrong(
                "[shared] has default_instances and default_instance, its older form: leave the latter out.".to_owned(),
            ));
        }
    };
    let ids = ids.iter().map(|id| kind_of(id, instances)).collect::<Result<_>>()?;
    DefaultInstances::new(ids).map_err(|error| wrong(format!("default_instances of [shared]: {}.", error.message())))
}

fn kind_of(text: &str, instances: &[Instance]) -> Result<(InstanceKind, InstanceId)> {
    let id: InstanceId = text.parse()?;
    match instances.iter().find(|instance| instance.id == id) {
        Some(instance) => Ok((instance.keys.kind(), id)),
        None => Err(wrong(format!("the default instance {id} of [shared] is no [[instance]]."))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;
    use crate::model::instance::ProtectionLevel;

    const HARDWARE: &str = "kst-aaaaaaaaaaaaaaaaaaaaa";
    const SOFTWARE: &str = "kst-bbbbbbbbbbbbbbbbbbbbb";
    const OTHER_SOFTWARE: &str = "kst-ccccccccccccccccccccc";

    fn parse(defaults: &str) -> Result<Config> {
        let software = [SOFTWARE, OTHER_SOFTWARE]
            .map(|id| format!("[[instance]]\nid = \"{id}\"\nname = \"s\"\nkind = \"Software\"\nlisten = \"127.0.0.1:0\"\n"));
        let text = format!(
            "data_dir = \"data\"\nroot_key_file = \"root.key\"\n[shared]\nlisten = \"127.0.0.1:0\"\n{defaults}\n\
             [[instance]]\nid = \"{HARDWARE}\"\nname = \"h\"\nkind = \"Hardware\"\nlisten = \"127.0.0.1:0\"\n\
             [instance.slot]\nmodule = \"m.so\"\nuri = \"pkcs11:token=t\"\npin_file = \"pin\"\n{}",
            software.concat()
        );
        Config::parse(&text, Path::new("/etc/keystead"))
    }

    #[test]
    fn one_of_each_kind_in_any_order_or_none() {
        let ids = |config: &Config| -> Vec<String> { config.default_instances.iter().map(|(_, id)| id.to_string()).collect() };
        for (defaults, expected) in [
            (String::new(), vec![]),
            ("default_instances = []".to_owned(), vec![]),
            (format!("default_instances = [\"{SOFTWARE}\", \"{HARDWARE}\"]"), vec![SOFTWARE, HARDWARE]),
            (format!("default_instances = [\"{HARDWARE}\"]"), vec![HARDWARE]),
        ] {
            let config = parse(&defaults).unwrap();
            assert_eq!((ids(&config), config.remarks.len()), (expected.into_iter().map(str::to_owned).collect(), 0), "{defaults}");
        }
        let config = parse(&format!("default_instances = [\"{SOFTWARE}\", \"{HARDWARE}\"]")).unwrap();
        let of = |level| config.default_instances.of(level).map(ToString::to_string);
        assert_eq!(
            (of(ProtectionLevel::Hsm).as_deref(), of(ProtectionLevel::Software).as_deref()),
            (Some(HARDWARE), Some(SOFTWARE))
        );
    }

    #[test]
    fn the_older_form_is_a_list_of_one_and_remarked_on() {
        let config = parse(&format!("default_instance = \"{SOFTWARE}\"")).unwrap();
        assert_eq!(config.default_instances.first().map(InstanceId::as_str), Some(SOFTWARE));
        assert_eq!(config.remarks.len(), 1);
        assert!(config.remarks[0].contains(&format!("default_instances = [\"{SOFTWARE}\"]")), "{}", config.remarks[0]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let both = format!("default_instances = [\"{SOFTWARE}\"]\ndefault_instance = \"{SOFTWARE}\"");
        for (defaults, said) in [
            (both, vec!["default_instances and default_instance"]),
            (format!("default_instances = [\"{SOFTWARE}\", \"{OTHER_SOFTWARE}\"]"), vec!["Software", SOFTWARE, OTHER_SOFTWARE]),
            (format!("default_instances = [\"{SOFTWARE}\", \"{SOFTWARE}\"]"), vec!["Software", SOFTWARE]),
            ("default_instances = [\"kst-ddddddddddddddddddddd\"]".to_owned(), vec!["kst-ddddddddddddddddddddd"]),
            ("default_instances = [\"kst-d\"]".to_owned(), vec!["kst-d"]),
            (format!("default_instances = \"{SOFTWARE}\""), vec!["line 5"]),
        ] {
            let text = parse(&defaults).err().expect("it is refused").message().to_owned();
            assert!(said.iter().all(|said| text.contains(said)) && !text.contains('\n'), "{text}");
        }
    }
}
