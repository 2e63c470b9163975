//! What tokens cost, and how many there are where nobody says.
