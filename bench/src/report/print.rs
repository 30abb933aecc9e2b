//! Text of a media path report beside its figures: the machine, and the verdict.

use super::MediaReport;
use crate::sheet::ReportSheet;

impl MediaReport {
    pub(crate) fn sheet(&self) -> ReportSheet {
        ReportSheet {
            head: self.head(),
            figures: self.figures(),
            verdict: self.verdict(),
        }
    }

    /// Lines about the machine and how the run was made.
    fn head(&self) -> Vec<String> {
        let machine = &self.machine;
        let place = match (machine.receiver_cpu, machine.sender_cpu) {
            (Some(receiver), Some(sender)) => {
                format!("receivers pinned to processor {receiver}, the generator to {sender}")
            }
            _ => "one processor for all".to_owned(),
        };
        let network = if machine.place.own_network() {
            "a network namespace of its own"
        } else {
            "the host's loopback"
        };
        let time = if machine.place.own_time() {
            "before all else that runs (SCHED_RR)"
        } else {
            "among all else that runs"
        };
        let [all, disturbed] = [self.rounds.len(), self.disturbed()];
        let mut head = vec![
            format!(
                "{}, Linux {}; {network}; {place}, {time}.",
                machine.processor, machine.kernel
            ),
            format!(
                "{all} rounds, {disturbed} of them disturbed (others took more than 5 % of the processor); \
                 these do not count where at least as many others do."
            ),
        ];
        if self.quick {
            head.push("A quick run: it shows that all works and judges nothing.".to_owned());
        }
        for skipped in &self.skipped {
            head.push(format!(
                "Not run: {}: {}.",
                skipped.subject.name(),
                skipped.why
            ));
        }
        for fault in self.faults_of_others() {
            head.push(format!("Does not count: {fault}."));
        }
        head
    }

    fn verdict(&self) -> String {
        let faults = self.disqualified();
        if faults.is_empty() {
            return "No packet was lost, and every session's account balances.".to_owned();
        }
        format!("DISQUALIFIED:\n- {}", faults.join("\n- "))
    }
}
