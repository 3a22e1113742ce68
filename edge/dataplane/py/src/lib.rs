//! Python's view of the packet path. No logic: types are converted, calls that may wait let other threads run.
//!
//! Rust threads never call into Python; what they have to say waits in a queue whose descriptor the event loop watches.

mod commands;
mod numbers;

use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

create_exception!(
    edge.dataplane._native,
    OfferRejected,
    PyValueError,
    "The offer cannot be answered. `args == (status, reason, detail)`."
);
create_exception!(
    edge.dataplane._native,
    CommandRejected,
    PyValueError,
    "A command cannot be carried out. `args == (reason, detail)`."
);

/// The `edge.dataplane._native` module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("OfferRejected", module.py().get_type::<OfferRejected>())?;
    module.add("CommandRejected", module.py().get_type::<CommandRejected>())?;
    let reasons: Vec<&str> = tradewind_io::dataplane::offer_reasons().collect();
    module.add("OFFER_REASONS", PyTuple::new(module.py(), reasons)?)?;
    module.add_class::<commands::PeerConfig>()?;
    module.add_class::<commands::StreamRoute>()?;
    module.add_class::<commands::DataplaneConfig>()?;
    module.add_class::<commands::SessionAnswer>()?;
    module.add_class::<commands::Dataplane>()?;
    module.add_class::<numbers::Event>()?;
    module.add_class::<numbers::TrunkStats>()?;
    module.add_class::<numbers::StreamStats>()?;
    module.add_class::<numbers::Snapshot>()?;
    Ok(())
}
