//! Python's view of the packet path.
use pyo3::prelude::*;

/// The `edge.dataplane._native` module.
#[pymodule]
fn _native(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
