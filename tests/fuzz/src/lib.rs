//! What the fuzz targets try, and what must hold whatever comes in. Each target is one function from bytes.

pub mod json;

pub mod dynsec;
pub mod envelope;
pub mod filter;
pub mod jwt;
pub mod manifest;
