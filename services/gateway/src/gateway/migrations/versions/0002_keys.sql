-- API keys came later, in 0006.
SELECT;
