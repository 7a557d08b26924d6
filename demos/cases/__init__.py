"""Five design sheets, one for each case study of the textbook's section."""
