pub mod fit;
pub mod rows;
pub mod templates;
