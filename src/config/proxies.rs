//! `[shared.proxies]`, `[instance.proxies]`, `[sts.proxies]`: what stands before a listener.

use serde::Deserialize;

use super::wrong;
use crate::base::Result;
use crate::model::access::parse_source;
use crate::model::proxies::Proxies;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxiesTable {
    addresses: Vec<String>,
    header: Option<String>,
    #[serde(default)]
    proxy_protocol: bool,
}

/// Which proxies are believed, and in which of the two ways.
pub(super) fn proxies(table: Option<ProxiesTable>, of: &str) -> Result<Proxies> {
    let Some(table) = table else { return Ok(Proxies::default()) };
    let addresses = table.addresses.iter().map(|text| parse_source(text)).collect::<Result<Vec<_>>>()?;
    if addresses.is_empty() {
        return Err(wrong(format!("addresses of [{of}.proxies] names the proxies that are believed, at least one.")));
    }
    match (table.header, table.proxy_protocol) {
        (Some(header), false) => {
            let header =
                header.parse().map_err(|_| wrong(format!("header = {header:?} of [{of}.proxies] is no header's name.")))?;
            Ok(Proxies::Header { addresses, header })
        }
        (None, true) => Ok(Proxies::Protocol { addresses }),
        (Some(_), true) | (None, false) => {
            Err(wrong(format!("[{of}.proxies] has exactly one of header = \"X-Forwarded-For\" and proxy_protocol = true.")))
        }
    }
}
