//! Results of scenarios for machines that read JUnit's XML.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::script::ScenarioResult;

/// The results as one suite. A script that cannot be used is an error, a check that failed a failure.
///
/// # Errors
/// One line.
pub fn junit(results: &[ScenarioResult], seed: u64) -> Result<String, String> {
    let mut suite = TestSuite::new("scenarios");
    for result in results {
        let status = match &result.error {
            None => TestCaseStatus::success(),
            Some(error) => {
                let kind = if result.unusable {
                    NonSuccessKind::Error
                } else {
                    NonSuccessKind::Failure
                };
                let mut status = TestCaseStatus::non_success(kind);
                status.set_message(error.lines().next().unwrap_or_default());
                status.set_description(error.as_str());
                status
            }
        };
        let mut case = TestCase::new(result.name(), status);
        case.set_classname("hmmu");
        case.set_time(Duration::try_from_secs_f64(result.wall_seconds).unwrap_or_default());
        case.set_system_out(format!(
            "seed {seed}, {} cycles, {} events",
            result.cycles, result.events
        ));
        suite.add_test_case(case);
    }
    let mut report = Report::new("hmmu");
    report.add_test_suite(suite);
    report.to_string().map_err(|error| error.to_string())
}
