//! `docs/metrics.md` and `docs/errors.md`, generated from the declarations: `UPDATE_DOCS=1 cargo test docs` rewrites them,
//! without it a test fails when one is stale.

use super::definitions::{ALL, Kind, SECONDS};
use super::labels;
use lockgate_filters::fault::{Fault, Loudness};
use std::fmt::Write;
use std::fs;
use std::path::Path;

#[test]
fn metrics_are_documented() {
    check("docs/metrics.md", &metrics_page());
}

#[test]
fn errors_are_documented() {
    check("docs/errors.md", &errors_page());
}

fn check(path: &str, generated: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, generated).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == generated, "{path} is stale: run `UPDATE_DOCS=1 cargo test docs`");
}

fn metrics_page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- Generated from src/telemetry: `UPDATE_DOCS=1 cargo test docs`. -->\n\n\
         `GET /metrics` on the admin listener, in the Prometheus text format. Label values come from the configuration \
         or from the fixed sets below, never from clients. The series of a virtual server, backend or listener vanish \
         when a reload has removed it and its last exchange has ended.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for definition in ALL {
        let kind = match definition.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels = definition.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        writeln!(page, "| `{}` | {kind} | {labels} | {} |", definition.name, definition.help).unwrap();
    }
    let bounds = SECONDS.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    write!(
        page,
        "\nUpper bounds of the histogram buckets in seconds (those of the OpenTelemetry MCP conventions): {bounds}.\n\n\
         `virtual_server`, `backend` and `listener` are names from the configuration; `virtual_server=\"-\"` counts \
         exchanges that ended before a virtual server was found. `reason` of `lockgate_refusals_total` is the label in \
         [errors.md](errors.md). `standing` is `fresh`, `stale` or `missing`; `kind` of `lockgate_catalog_items` is \
         `tools`, `prompts`, `resources` or `resourceTemplates`.\n"
    )
    .unwrap();

    macro_rules! set {
        ($title:literal, $set:ident) => {
            write!(page, "\n## {}\n\n| value | meaning |\n|---|---|\n", $title).unwrap();
            for value in labels::$set::ALL {
                writeln!(page, "| `{}` | {} |", value.label(), value.meaning().trim()).unwrap();
            }
        };
    }
    set!("`method`", Method);
    set!("`era` of `lockgate_requests_total`", ClientEra);
    set!("`outcome` of `lockgate_requests_total`", Outcome);
    set!("`outcome` of `lockgate_upstream_requests_total`", UpstreamOutcome);
    set!("`outcome` of `lockgate_config_reloads_total`", Reload);
    set!("`kind` of `lockgate_streams`", StreamKind);
    set!("`kind` of `lockgate_node_requests_total`", NodeRequest);
    set!("`outcome` of `lockgate_node_requests_total`", NodeOutcome);
    set!("`reason` of `lockgate_connections_refused_total`", ConnectionRefusal);
    set!("`era` of `lockgate_backend_era`", BackendEra);
    page
}

fn errors_page() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         <!-- Generated from filters/src/fault.rs: `UPDATE_DOCS=1 cargo test docs`. -->\n\n\
         Every error that Lockgate itself answers. The body is a JSON-RPC error with the request's id where it could be \
         read, and `error.data.correlationId`, which is also in the log. The label is the `reason` of \
         `lockgate_refusals_total`. Faults marked *warning* are logged at that level, the others at `debug`. Errors that \
         a backend answers are passed on unchanged.\n\n\
         Codes from -32099 to -32020 mean what MCP 2026-07-28 says; those from -31007 to -31001 are Lockgate's own.\n\n\
         | label | HTTP | JSON-RPC | log | meaning |\n|---|---|---|---|---|\n",
    );
    for fault in Fault::ALL {
        let log = match fault.loudness() {
            Loudness::Quiet => "",
            Loudness::Warning => "warning",
        };
        let meaning = fault.meaning().trim();
        writeln!(page, "| `{}` | {} | {} | {log} | {meaning} |", fault.label(), fault.status(), fault.code()).unwrap();
    }
    page
}
